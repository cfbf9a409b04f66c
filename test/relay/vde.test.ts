import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createNat, DEFAULT_SUBNET } from "../../relay/nat/nat.ts";
import { createKernelEngine } from "../../relay/vde/kernel-engine.ts";
import { createSlirpEngine } from "../../relay/vde/slirp-engine.ts";
import { VdeEngine } from "../../relay/vde/vde-guest.ts";
import { arpFrame, GATEWAY } from "./frame-guest.ts";
import { pause, until } from "./guests.ts";
import { ALLOW_ALL, createPort } from "./network.ts";
import { POLICY, PUBLIC, syn, to } from "./vde-frames.ts";
import { FORBIDDEN, RELAY, type TapGuest, WORLD, World } from "./vde-world.ts";

it("an engine that has gone is told to the guest, and what the gateway answers goes on", async () => {
  const problems: string[] = [];
  const uplink = {
    name: "test",
    carriesPings: false,
    open: () => ({ command: ["false"], close() {} }),
    close: async () => {},
  };
  const nat = createNat({ policy: POLICY, pinger: null });
  const onProblem = (words: string): void => void problems.push(words);
  const engine = new VdeEngine({ uplink, nat, policy: POLICY, subnet: DEFAULT_SUBNET, mtu: 1500, onProblem });
  const port = createPort();
  const guest = engine.attach(port);
  guest.receive(syn(PUBLIC));
  await until(() => problems.length === 1, "it has ended");
  expect(problems).toEqual(["The test engine of a guest: it has ended: status 1"]);
  guest.receive(syn(PUBLIC));
  expect(port.told.map(({ text }) => text)).toEqual([
    "Cannot pass packets on: the relay's test engine has ended, and is being started again",
  ]);
  guest.receive(arpFrame(GATEWAY));
  expect(port.frames).toHaveLength(1);
  guest.receive(syn(to("10.0.0.1")));
  expect(port.told.at(-1)?.text).toBe("Cannot connect to 10.0.0.1: private addresses are not reachable from here");
  expect(guest.statistics).toMatchObject({ refused: 2, dropped: { "engine.down": 1 } });
  await engine.close();
});

/** The programs of engines that this process has started. */
function waysOut(): number[] {
  const isOurs = (pid: number): boolean => {
    try {
      const isChild = readFileSync(`/proc/${pid}/status`, "utf8").includes(`PPid:\t${process.pid}\n`);
      return isChild && /vde_plug\0(slirp:|tap:\/\/so)/.test(readFileSync(`/proc/${pid}/cmdline`, "utf8"));
    } catch {
      return false;
    }
  };
  return readdirSync("/proc").map(Number).filter(isOurs);
}

const CLOSED = /timed out|refused|unreachable|reset|No route/i;

const isRoot = process.getuid?.() === 0;

describe.skipIf(!isRoot).each(["slirp", "kernel"] as const)("the %s engine, for real (needs root)", (name) => {
  let world: World;
  let engine: VdeEngine;
  let one: TapGuest;
  const problems: string[] = [];

  beforeAll(async () => {
    world = await World.make();
    const nat = createNat({ policy: POLICY, pinger: null });
    const options = { nat, policy: POLICY, subnet: DEFAULT_SUBNET, mtu: 1500, within: world.prefix };
    const create = name === "slirp" ? createSlirpEngine : createKernelEngine;
    engine = await create({ ...options, onProblem: (words) => void problems.push(words) });
    one = await world.join(engine);
  });

  afterAll(async () => {
    await engine?.close();
    await world?.close();
  });

  it("gives an address, and names", async () => {
    expect(one.engineGuest.address).toBe("10.0.2.15");
    expect(await one.sh("busybox nslookup www.example.test")).toContain(WORLD);
    expect(await one.sh("busybox wget -q -O - http://www.example.test/")).toBe("hello");
  });

  it("carries downloads and uploads whole, and many at a time", async () => {
    const block = Buffer.alloc(65536, "0123456789abcdef");
    const wanted = createHash("sha256");
    for (let i = 0; i < 512; i++) wanted.update(block);
    const sum = wanted.digest("hex");
    const got = await one.sh(`busybox wget -q -O - http://${WORLD}/bytes/33554432 | sha256sum`);
    expect(got.split(" ")[0]).toBe(sum);
    const file = await one.sh("f=$(mktemp); head -c 16777216 /dev/urandom > $f; echo $f");
    try {
      const sent = await one.sh(`curl -s --data-binary @${file} -H Expect: http://${WORLD}/; echo; sha256sum ${file}`);
      const [theirs, ours] = sent.split("\n") as [string, string];
      expect(theirs).toBe(ours.split(" ")[0]);
    } finally {
      await one.sh(`rm ${file}`);
    }
    const many = await one.sh(
      `for i in $(seq 20); do busybox wget -q -O - http://${WORLD}/bytes/1000000 | wc -c & done; wait`,
    );
    expect(many.split("\n")).toEqual(Array.from({ length: 20 }, () => "1000000"));
  });

  it("carries UDP, large datagrams too, and lets nobody else answer", async () => {
    const long = "x".repeat(4000);
    const script = `const s=require("dgram").createSocket("udp4");s.on("message",m=>{console.log(m.length);s.close()});s.send("${long}",7,"${WORLD}");setTimeout(()=>process.exit(1),3000).unref()`;
    expect(await one.sh(`'${process.execPath}' -e '${script}'`)).toBe("4000");
  });

  it("answers pings truthfully, or says that it cannot", async () => {
    expect(await one.sh("busybox ping -c 1 -W 2 10.0.2.2")).toContain("1 packets received");
    const text = await one.sh(`busybox ping -c 1 -W 2 ${WORLD}`);
    if (name === "kernel") {
      expect(text).toContain("1 packets received");
      expect(await one.sh("busybox ping -c 1 -W 1 11.0.0.99")).toContain("0 packets received");
    } else {
      expect(text).toContain("0 packets received");
      expect(one.told.map(({ text: words }) => words)).toContain(`Cannot ping ${WORLD}: the relay cannot ping`);
    }
  });

  it("refuses what the policy refuses, at once and in words; nothing of it arrives anywhere", async () => {
    const before = [world.hits("world"), world.hits("relay")];
    for (const address of [...FORBIDDEN, RELAY, "198.18.0.1", "inside.example.test"]) {
      const started = Date.now();
      const text = await one.sh(`busybox wget -T 5 -O - http://${address}/`);
      expect(text).toMatch(/refused|reset/i);
      expect(Date.now() - started).toBeLessThan(2000);
    }
    // To its own loopback a guest's system sends nothing; one that does gets no further.
    const loopback = await one.sh(
      `ip route del local 127.0.0.0/8 dev lo table local; ip route del local 127.0.0.1 dev lo table local; ip route add 127.0.0.1 via 10.0.2.2; curl -s -m 1 http://127.0.0.1/; echo $?`,
    );
    expect(loopback.split("\n").at(-1)).not.toBe("0");
    expect(one.told.map(({ text }) => text)).toContain(
      "Cannot connect to 169.254.169.254: metadata services of clouds are not reachable from here",
    );
    // The probes of `hits` themselves are on 127.0.0.1.
    const strange = (hits: string[]): string[] =>
      hits.filter((address) => address !== "127.0.0.1" && address !== WORLD);
    expect([strange(world.hits("world")), strange(world.hits("relay"))]).toEqual(before.map(strange));
    expect(strange(world.hits("relay"))).toEqual([]);
  });

  it("lets connections in to the guest's port", async () => {
    const served = one.sh("echo 'from the guest' | busybox nc -l -p 8080");
    let text = "";
    for (let i = 0; text === "" && i < 50; i++)
      try {
        const stream = await one.engineGuest.connect(8080);
        for await (const chunk of stream) text += chunk;
      } catch {
        await pause(50);
      }
    expect(text).toBe("from the guest\n");
    await served;
    await expect(one.engineGuest.connect(8081)).rejects.toThrow("Cannot connect to the guest's port 8081: ");
  });

  it("keeps guests apart", async () => {
    const two = await world.join(engine, { mac: "52:54:00:00:00:02", address: "10.0.2.16" });
    expect(two.engineGuest.address).toBe("10.0.2.16");
    expect(await two.sh(`busybox wget -q -O - http://${WORLD}/`)).toBe("hello");
    const server = two.sh("busybox nc -l -p 9090");
    for (const address of ["10.0.2.16", "198.18.0.3"])
      expect(await one.sh(`busybox wget -T 1 -O - http://${address}:9090/`)).toMatch(CLOSED);
    // It was there all the time.
    const stream = await two.engineGuest.connect(9090);
    stream.end("hello");
    expect(await server).toBe("hello");
    await two.close();
  });

  it("comes back when its program is killed, and tells it", async () => {
    // The other guest's may still be ending.
    await until(() => waysOut().length === 1, "only this guest's program runs");
    process.kill(waysOut()[0] as number, "SIGKILL");
    await until(() => problems.length > 0, "the end was told");
    expect(problems[0]).toBe(`The ${name} engine of a guest: it has ended: signal SIGKILL`);
    await pause(200);
    let text = "";
    for (let i = 0; i < 10 && text !== "hello"; i++) text = await one.sh(`busybox wget -q -T 2 -O - http://${WORLD}/`);
    expect(text).toBe("hello");
    expect(one.engineGuest.statistics.tcpOpened).toBeGreaterThan(20);
  });

  it("leaves nothing behind", async () => {
    if (name === "kernel") {
      expect(world.look("nft", "list", "tables")).toContain("smartos0");
      expect(world.look("ip", "link")).toContain("so0g");
    }
    await engine.close();
    expect(world.look("nft", "list", "tables")).toBe("");
    expect(world.look("ip", "link")).not.toContain("so0g");
    expect(world.look("ip", "address", "show", "dev", "lo")).not.toContain("198.18.");
  });
});

describe.skipIf(!isRoot)("the kernel engine's own rules (needs root)", () => {
  it("keep guests from each other and from the relay's computer, even if the policy allowed it", async () => {
    const world = await World.make();
    const options = { policy: ALLOW_ALL, subnet: DEFAULT_SUBNET, mtu: 1500, within: world.prefix, onProblem() {} };
    const engine = await createKernelEngine({ ...options, nat: createNat({ policy: ALLOW_ALL, pinger: null }) });
    try {
      const one = await world.join(engine);
      const two = await world.join(engine);
      for (const guest of [one, two]) expect(await guest.sh(`busybox wget -q -O - http://${WORLD}/`)).toBe("hello");
      for (const tap of ["so0g2", "so0g3"]) expect(world.look("ip", "link")).toContain(tap);
      const server = two.sh("busybox nc -l -p 9090").catch(() => {});
      for (const address of ["198.18.0.3:9090", "198.18.0.1", RELAY])
        expect(await one.sh(`busybox wget -T 1 -O - http://${address}/`)).toMatch(CLOSED);
      expect(world.hits("relay").filter((address) => address !== "127.0.0.1")).toEqual([]);
      expect(await one.sh(`busybox wget -q -T 1 -O - http://${FORBIDDEN[0]}/`)).toBe("hello");
      await two.close();
      await server;
    } finally {
      await engine.close();
      await world.close();
    }
  });

  it("several relays on one computer take parts of the pool, and who comes too late is told", async () => {
    const world = await World.make();
    const engines: VdeEngine[] = [];
    try {
      const make = (): Promise<VdeEngine> =>
        createKernelEngine({
          nat: createNat({ policy: POLICY, pinger: null }),
          policy: POLICY,
          subnet: DEFAULT_SUBNET,
          mtu: 1500,
          within: world.prefix,
          onProblem: () => {},
        });
      for (let i = 0; i < 8; i++) engines.push(await make());
      expect(world.look("nft", "list", "tables").trim().split("\n")).toHaveLength(8);
      await expect(make()).rejects.toThrow("Cannot use the kernel engine: 8 relays on this computer use it already");
      await engines[3]?.close();
      engines[3] = await make();
      expect(world.look("nft", "list", "tables")).toContain("smartos3");
    } finally {
      for (const engine of engines) await engine.close();
      await world.close();
    }
  });
});

it("engines that cannot be used say why", async () => {
  const options = { policy: POLICY, mtu: 1500, onProblem: () => {} };
  const other = { ...DEFAULT_SUBNET, gateway: "10.0.3.2", dns: "10.0.3.3", guest: "10.0.3.15" };
  const nat = createNat({ policy: POLICY, pinger: null });
  await expect(createSlirpEngine({ ...options, nat, subnet: other })).rejects.toThrow(
    "Cannot use the slirp engine: its subnet is that of 10.0.2.2/24",
  );
  await expect(createSlirpEngine({ ...options, nat, subnet: DEFAULT_SUBNET, within: ["false"] })).rejects.toThrow(
    "Cannot use the slirp engine: it has ended: status 1 (Debian's packages vdeplug and libvdeplug-slirp)",
  );
  await nat.close();
});
