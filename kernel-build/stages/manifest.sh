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
  "bios.bin bios seabios LGPL-3.0-only"
  "vgabios.bin bios seabios LGPL-3.0-only"
)

collect() { # OUTPUT
  local output=$1 entry name stage package licence next
  next=$output.new
  rm -rf "$next"
  mkdir -p "$next"
  for entry in "${ARTEFACTS[@]}"; do
    read -r name stage package licence <<<"$entry"
    cp "$(stage_dir "$stage")/$name" "$next/$name"
  done
  write_manifest "$next" >"$next/manifest.json"
  if [ -f "$output/manifest.json" ] && cmp -s "$next/manifest.json" "$output/manifest.json"; then
    rm -rf "$next"
    return
  fi
  rm -rf "$output"
  mv "$next" "$output"
}

write_manifest() { # DIRECTORY
  local entry name stage package licence separator=
  printf '{\n  "version": 1,\n  "inputs": "%s",\n  "artefacts": [' "$(inputs)"
  for entry in "${ARTEFACTS[@]}"; do
    read -r name stage package licence <<<"$entry"
    printf '%s\n    {\n      "name": "%s",\n      "size": %d,\n      "sha256": "%s",\n' "$separator" "$name" \
      "$(stat -c %s "$1/$name")" "$(sha256sum "$1/$name" | cut -d' ' -f1)"
    printf '      "source": { "package": "%s", "version": "%s" },\n      "licence": "%s"\n    }' \
      "$package" "$(package_version "$package")" "$licence"
    separator=,
  done
  printf '\n  ]\n}\n'
}
