import { beforeEach, describe, expect, it } from "vitest";
import { type Agent, createAgent } from "../../web/agent.ts";

let sent: string[];
let agent: Agent;
const receive = (text: string): void => agent.receive(new TextEncoder().encode(text));

beforeEach(() => {
  sent = [];
  agent = createAgent((bytes) => sent.push(new TextDecoder().decode(bytes)));
});

describe("the agent's channel", () => {
  it("waits for the agent, then runs one command after the other", async () => {
    const first = agent.run("echo a", 1000);
    const second = agent.run("echo b", 1000);
    expect(sent).toEqual([]);
    receive("ready\n");
    expect(sent).toEqual([`run c1 ${btoa("echo a")}\n`]);
    receive("c1 0 2\na\n");
    expect(sent[1]).toBe(`run c2 ${btoa("echo b")}\n`);
    receive("c2 3 0\n");
    expect(await first).toEqual({ status: 0, output: "a\n" });
    expect(await second).toEqual({ status: 3, output: "" });
  });

  it("keeps output that looks like its own protocol, in pieces of any size", async () => {
    receive("ready\n");
    const output = "c1 0 5\nready\nc2 1 1\nx文\n";
    const bytes = new TextEncoder().encode(`c1 0 ${new TextEncoder().encode(output).length}\n${output}`);
    const result = agent.run("cat", 1000);
    for (const byte of bytes) agent.receive(Uint8Array.of(byte));
    expect(await result).toEqual({ status: 0, output });
  });

  it("sends a long command in parts, each when the guest asks for it", async () => {
    receive("ready\n");
    const command = `echo ${"y".repeat(5000)}`;
    const result = agent.run(command, 1000);
    const next = agent.run("true", 1000);
    expect(sent).toHaveLength(1);
    receive("more c1\n");
    expect(sent).toHaveLength(2);
    receive("more c1\nmore c1\n");
    expect(sent).toHaveLength(3);
    const parts = sent.map((line) => /^(part|run) c1 (.*)\n$/.exec(line) ?? []);
    expect(parts.map(([, verb]) => verb)).toEqual(["part", "part", "run"]);
    expect(atob(parts.map(([, , part]) => part).join(""))).toBe(command);
    for (const line of sent) expect(line.length).toBeLessThan(4096);
    receive("c1 0 0\n");
    await result;
    receive("c2 0 0\n");
    await next;
  });

  it("does not go on sending a command that took too long", async () => {
    receive("ready\n");
    await expect(agent.run("y".repeat(5000), 20)).rejects.toThrow("did not end within 20 ms");
    receive("more c1\n");
    expect(sent.map((line) => line.split(" ")[0])).toEqual(["part", "kill"]);
  });

  it("kills a command that takes too long, and starts the next one when it is gone", async () => {
    receive("ready\n");
    const slow = agent.run("sleep 100", 20);
    const next = agent.run("true", 5000);
    await expect(slow).rejects.toThrow('Cannot run "sleep 100": it did not end within 20 ms and was killed');
    expect(sent).toEqual([`run c1 ${btoa("sleep 100")}\n`, "kill c1\n"]);
    receive("c1 137 0\n");
    expect(sent).toHaveLength(3);
    receive("c2 0 0\n");
    expect(await next).toEqual({ status: 0, output: "" });
  });

  it("says so when no agent is there", async () => {
    await expect(agent.run("true", 10)).rejects.toThrow("no agent answered within 10 ms");
  });

  it("refuses everything that waits when the machine stops", async () => {
    receive("ready\n");
    const running = agent.run("true", 1000);
    const waiting = agent.run("true", 1000);
    agent.stop("the machine was switched off");
    await expect(running).rejects.toThrow("the machine was switched off");
    await expect(waiting).rejects.toThrow("the machine was switched off");
    await expect(agent.run("true", 1000)).rejects.toThrow("the machine was switched off");
  });

  it("tells the terminal's size once the agent is there, and again to a restarted one", () => {
    agent.resize("ttyS0", { columns: 80, rows: 24 });
    agent.resize("ttyS0", { columns: 100, rows: 30 });
    expect(sent).toEqual([]);
    receive("ready\n");
    receive("ready\n");
    expect(sent).toEqual(["size ttyS0 100 30\n", "size ttyS0 100 30\n"]);
  });
});
