import type { enNetworkWork } from "./en-network-work.ts";
import { translateRelay } from "./zh-relay.ts";

/** 页面对网络操作的说明。 */
export const zhNetworkWork: typeof enNetworkWork = {
  fromRelay: translateRelay,
  noneHere: "此页面的服务器没有中继。",
  tabsNeedSecure: "无法加入房间：没有中继时，房间只连接此浏览器的标签页，而这要求页面来自 https:// 或本机。",
  broken: "与中继的连接已断开。",
  unreachable: (address) => `${address} 没有中继应答。`,
  machineOff: "虚拟机已关机。",
  offline: (reason) => `无法连接中继：虚拟机处于离线状态。${reason}`.trim(),
  badPort: (port) => `无法转发端口 ${port}：端口必须是 1 到 65535 之间的整数`,
  roomElsewhere: (room, relay) => `此链接指向另一个中继 ${relay} 上的房间 ${room}。`,
  forwardsMoved: "中继已不认得此虚拟机：端口转发有了新地址。",
  joinThere: "加入",
  badRelay: (address) => `无法使用 ${address}：中继地址须以 ws:// 或 wss:// 开头`,
};
