import { describe, expect, it } from "vitest";
import { formatRoomLink, readRoomLink } from "../../web/room-link.ts";

const PAGE = "https://example.org/os/?project=mine&boot=cold#old";

describe("the link to a room", () => {
  it("has the secret where no server sees it, and nothing of the page's own parameters", () => {
    expect(formatRoomLink(PAGE, { room: "course 3", secret: "a/b c#d", relay: "" })).toBe(
      "https://example.org/os/?room=course+3#a%2Fb%20c%23d",
    );
  });

  it("leads to the same room, secret and relay", () => {
    for (const link of [
      { room: "course", secret: "correct horse", relay: "" },
      { room: "网络 & 3.1", secret: "100% #&=?+密码", relay: "wss://relay.example.org:8443/a&b" },
    ])
      expect(readRoomLink(formatRoomLink(PAGE, link))).toEqual(link);
  });

  it("does not give away what may be a token for the relay", () => {
    const link = formatRoomLink(PAGE, { room: "a", secret: "s", relay: "wss://relay.example.org/os?token=mine" });
    expect(link).not.toContain("mine");
    expect(readRoomLink(link)?.relay).toBe("wss://relay.example.org/os");
  });

  it("is none without a name or a secret, and takes a secret that was typed by hand", () => {
    expect(readRoomLink("https://example.org/#secret")).toBe(null);
    expect(readRoomLink("https://example.org/?room=%20#secret")).toBe(null);
    expect(readRoomLink("https://example.org/?room=a")).toBe(null);
    expect(readRoomLink("https://example.org/?room=a#100%")?.secret).toBe("100%");
  });
});
