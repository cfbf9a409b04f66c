# The artefacts side by side, and the manifest that says what each is, where it comes from, and under which licence.

# name, stage, source package, licence (SPDX)
ARTEFACTS=(
  "bzImage kernel linux-source-6.12 GPL-2.0-only"
  "modules.cpio kernel linux-source-6.12 GPL-2.0-only"
  "kernel.config kernel linux-source-6.12 GPL-2.0-only"
  "busybox busybox busybox GPL-2.0-only"
  "busybox.links busybox busybox GPL-2.0-only"
  "boot.img grub grub-pc-bin GPL-3.0-or-later"
  "core.img grub grub-pc-bin GPL-3.0-or-later"
  "cd.img grub grub-pc-bin GPL-3.0-or-later"
  "bios.bin bios seabios LGPL-3.0-only"
  "vgabios.bin bios seabios LGPL-3.0-only"
  "waiter warm smart-os MIT"
)

artefact_names() {
  printf '%s\n' "${ARTEFACTS[@]%% *}"
}

# Puts the artefacts into OUTPUT, where a page may be reading them: each appears whole, and the manifest last.
collect() { # OUTPUT
  local output=$1 entry name stage rest next
  next=$output.new
  rm -rf "$next"
  mkdir -p "$next"
  for entry in "${ARTEFACTS[@]}"; do
    read -r name stage rest <<<"$entry"
    cp "$(stage_dir "$stage")/$name" "$next/$name"
  done
  write_manifest "$next" >"$next/manifest.json"
  mkdir -p "$output"
  for name in $(artefact_names) manifest.json; do
    cmp -s "$next/$name" "$output/$name" || mv -f "$next/$name" "$output/$name"
  done
  rm -rf "$next"
}

# One sum over the files of this folder that decide the result.
inputs() {
  (cd "$here" && sha256sum Dockerfile build.sh busybox.config kernel.config packages.sh patches/* stages/* warm/*) | sha256sum | cut -d' ' -f1
}

write_manifest() { # DIRECTORY
  local entry name stage package licence separator= version
  printf '{\n  "version": 1,\n  "inputs": "%s",\n  "toolchain": [' "$(inputs)"
  while read -r package version; do
    printf '%s\n    { "package": "%s", "version": "%s" }' "$separator" "$package" "$version"
    separator=,
  done < <(toolchain)
  printf '\n  ],\n  "artefacts": ['
  separator=
  for entry in "${ARTEFACTS[@]}"; do
    read -r name stage package licence <<<"$entry"
    version=$(package_version "$package")
    # The source is this folder.
    if [ "$package" = smart-os ]; then version=0.1.0; fi
    # Busybox is linked with musl, whose licence asks for its notice.
    if [ "$name" = busybox ]; then licence="GPL-2.0-only AND MIT"; fi
    printf '%s\n    {\n      "name": "%s",\n      "size": %d,\n      "sha256": "%s",\n' "$separator" "$name" \
      "$(stat -c %s "$1/$name")" "$(sha256sum "$1/$name" | cut -d' ' -f1)"
    printf '      "source": { "package": "%s", "version": "%s" },\n      "license": "%s"\n    }' \
      "$package" "$version" "$licence"
    separator=,
  done
  printf '\n  ]\n}\n'
}
