import { describe, expect, it } from "vitest";
import { createPolicy, parseRule } from "../../relay/policy.ts";
import { translateRelay } from "../../web/text/zh-relay.ts";

describe("what the relay says, in Chinese", () => {
  const policy = createPolicy({ deny: [parseRule("192.0.2.0/24")], own: () => ["9.9.9.9"] });

  it.each([
    "127.0.0.1",
    "10.0.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "169.254.1.1",
    "0.0.0.0",
    "0.1.2.3",
    "192.0.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "224.0.0.1",
    "255.255.255.255",
    "250.0.0.1",
    "192.0.2.1",
    "9.9.9.9",
    "8.8.8.8",
    "::1",
    "::",
    "fec0::1",
    "64:ff9b:1::1",
    "2001::1",
  ])("has words for the refusal of %s", (address) => {
    const why = policy.refuse("tcp", address, 25);
    expect(why).not.toBeNull();
    const words = translateRelay(`Cannot connect to ${address}: ${why}`);
    expect(words.startsWith(`无法连接 ${address}：`)).toBe(true);
    expect(words.replaceAll(/NAT64|Teredo|NAT/g, "").slice(words.indexOf("：") + 1)).not.toMatch(/[a-z]/i);
  });

  it.each([
    [
      "Cannot forward port 22: this relay has no ports for TCP (--forward-ports)",
      "无法转发端口 22：此中继没有开放 TCP 端口（--forward-ports）",
    ],
    ["Cannot ping 8.8.8.8: the relay's system cannot ping", "无法 ping 8.8.8.8：中继无法 ping"],
    ["Cannot join the room: it is full, 32 guests are the most", "无法加入房间：房间已满，最多 32 个系统"],
    ["Cannot connect: the token is wrong", "无法连接：令牌不正确"],
    ["Something new", "Something new"],
    ["Cannot connect to 1.2.3.4: something new", "无法连接 1.2.3.4：something new"],
    ["", ""],
  ])("%s", (english, chinese) => expect(translateRelay(english)).toBe(chinese));
});
