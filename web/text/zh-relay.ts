/**
 * 中继用英文说明原因（docs/relay-protocol.md），这里译成中文。未收录的句子原样显示。
 * 每项：整句的模式，及其译文；$1、$2 是其中的地址、数字或需再译的原因。
 */
const SENTENCES: readonly (readonly [RegExp, string])[] = [
  [/^Cannot connect to (\S+): (.+)$/, "无法连接 $1：$2"],
  [/^Cannot send to (\S+): (.+)$/, "无法发送到 $1：$2"],
  [/^Cannot ping (\S+): (.+)$/, "无法 ping $1：$2"],
  [/^Cannot resolve (\S+): (.+)$/, "无法解析 $1：$2"],
  [/^Cannot forward port (\d+): (.+)$/, "无法转发端口 $1：$2"],
  [/^Cannot join the room: (.+)$/, "无法加入房间：$1"],
  [/^Cannot connect: (.+)$/, "无法连接：$1"],
  [
    /^Cannot connect from this page: its origin is not allowed here \(--origin\)$/,
    "无法从此页面连接：中继不接受此来源（--origin）",
  ],
  [
    /^Cannot serve this name: .+$/,
    "无法以此名称提供服务：中继仅供本机使用；请用 --public 启动，或用 --origin 指明来源",
  ],
  [/^Cannot pass a frame of (\d+) bytes on: (\d+) are the most, .+$/, "无法转送 $1 字节的帧：最多 $2 字节"],
  [/^Cannot follow: .+$/, "无法处理：一时请求过多"],
  [/^Cannot end the forward: .+$/, "无法结束转发：没有这一转发"],
  [/^Cannot ask the relay: the connection broke$/, "无法询问中继：连接已断开"],
  [/^Cannot ask the relay: it is not connected$/, "无法询问中继：尚未连接"],
  [/^Cannot ask the relay: it does not answer$/, "无法询问中继：没有应答"],
  [/^The relay is shutting down.*$/, "中继正在关闭，也许很快恢复。"],
  [/^The relay ends connections after a time.*$/, "中继只保持连接一段时间，请重新连接。"],
  [/^The guest has sent nothing for a long time$/, "系统长时间没有网络活动，中继已断开连接。"],
];

const REASONS: readonly (readonly [RegExp, string])[] = [
  [/^(.+) are not reachable from here$/, "此处不能访问$1"],
  [/^mail \(port 25\) is closed here$/, "邮件端口 25 在此关闭"],
  [/^the operator of this relay has closed it$/, "中继的管理者已将其关闭"],
  [/^nobody answers$/, "没有应答"],
  [/^it is unreachable \((\w+)\)$/, "无法到达（$1）"],
  [/^the relay has no sockets left$/, "中继的套接字已用完"],
  [/^(\d+) connections are open, and more are not allowed$/, "已有 $1 个连接，不能再多"],
  [/^more than (\d+) new connections a second are not allowed$/, "每秒最多新建 $1 个连接"],
  [/^(\d+) UDP flows at a time are the most$/, "最多同时 $1 个 UDP 会话"],
  [/^(\d+) pings a second are the most$/, "每秒最多 ping $1 次"],
  [/^the relay('s system)? cannot ping$/, "中继无法 ping"],
  [/^too many questions at a time$/, "一时查询过多"],
  [/^the host has no resolver$/, "中继没有域名服务器"],
  [/^(\S+) does not answer( over TCP)?$/, "$1 没有应答"],
  [/^this relay has no domain for web pages of guests \((\S+)\)$/, "此中继没有用于网页转发的域名（$1）"],
  [/^this relay has no ports for (TCP|UDP) \((\S+)\)$/, "此中继没有开放 $1 端口（$2）"],
  [/^(\d+) forwards are the most$/, "最多 $1 个转发"],
  [/^all ports of this relay from (\d+) to (\d+) are taken$/, "此中继的端口 $1 到 $2 已全部占用"],
  [/^the guest has gone$/, "系统已离开"],
  [/^another is being joined$/, "正在加入另一个房间"],
  [/^it is full, (\d+) guests are the most$/, "房间已满，最多 $1 个系统"],
  [/^this relay has (\d+) rooms, and no place for another$/, "此中继已有 $1 个房间，不能再多"],
  [/^the relay cannot reach its fellows now; try again later$/, "中继暂时联系不到其他中继，请稍后再试"],
  [/^this relay wants a token$/, "此中继需要令牌"],
  [/^the token is wrong$/, "令牌不正确"],
  [/^too many connections in a short time; wait a minute$/, "短时间内连接过多，请稍候一分钟"],
  [/^there are (\d+) guests from your address, and no more are allowed$/, "来自您的地址已有 $1 个系统，不能再多"],
  [/^the relay has (\d+) guests and is full$/, "中继已有 $1 个系统，已满"],
];

const WHAT: Record<string, string> = {
  "metadata services of clouds": "云的元数据服务",
  "addresses for documentation": "文档专用地址",
  "reserved addresses": "保留地址",
  "unspecified addresses": "未指定地址",
  'addresses of "this network"': "“本网络”地址",
  "private addresses": "私有地址",
  "addresses of carrier-grade NAT": "运营商级 NAT 地址",
  "loopback addresses": "回环地址",
  "link-local addresses": "链路本地地址",
  "site-local addresses": "站点本地地址",
  "addresses for benchmarks": "基准测试地址",
  "multicast addresses": "组播地址",
  "broadcast addresses": "广播地址",
  "addresses of local NAT64": "本地 NAT64 地址",
  "Teredo addresses": "Teredo 地址",
  "the relay's own addresses": "中继自身的地址",
};

/** @param words 中继的一句英文 */
export function translateRelay(words: string): string {
  return translate(words, SENTENCES, (reason) => translate(reason, REASONS, (what) => WHAT[what] ?? what));
}

function translate(words: string, table: typeof SENTENCES, inner: (part: string) => string): string {
  for (const [pattern, translation] of table) {
    const match = pattern.exec(words);
    if (match) return translation.replace(/\$(\d)/g, (_, index: string) => inner(match[Number(index)] ?? ""));
  }
  return words;
}
