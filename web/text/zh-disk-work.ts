import type { enDiskWork } from "./en-disk-work.ts";

/** 页面对磁盘操作的说明。 */
export const zhDiskWork: typeof enDiskWork = {
  systemDisk: "系统盘",
  busy: (name) => `无法更改 ${name}：它正在进行其他操作，请等待完成或取消`,
  inUse: (name) => `无法更改 ${name}：虚拟机正在使用它，请先关机`,
  cancelled: (name) => `对 ${name} 的操作已取消，磁盘保持原样`,
  fileTooLarge: (path) => `无法取出 ${path}：它大于 64 GiB`,
  full: (name) => `无法保存 ${name}：浏览器存储空间已满，请删除一些磁盘或项目，或把它改小`,
  nameTaken: (name) => `无法把磁盘命名为 ${name}：项目中已有同名磁盘`,
  nameMissing: "无法命名磁盘：请填写名称",
  systemStays: "无法分离系统盘：它始终是第一个驱动器",
  cannotShrinkUnknown: (name) => `无法缩小 ${name}：不清楚盘上的内容，末尾部分会被截掉`,
  goneForGood: (name) => `无法恢复 ${name}：它已被彻底删除`,
  emptyFile: (name) => `无法导入 ${name}：文件是空的`,
  tooLarge: (name) => `无法导入 ${name}：它大于 64 GiB`,
  missing: (name) => `找不到磁盘 ${name} 的内容：此浏览器中没有保存，请分离或删除该磁盘`,
  openElsewhere: (name) => `磁盘 ${name} 正被另一个标签页的虚拟机使用：这里看到的是那台虚拟机启动时的内容，不能写入`,
  cannotFreeze: (name) => `无法保存虚拟机：磁盘 ${name} 正由另一个标签页的虚拟机写入，这里只能读取`,
  inUseElsewhere: (name) => `无法恢复磁盘 ${name}：另一个标签页的虚拟机正在使用它；请先关闭那台虚拟机`,
  contentGone: (name) => `无法恢复磁盘 ${name}：此后它又被写入过，而当时的内容没有保留`,
  removed: (name) => `已删除磁盘 ${name}`,
  undo: "撤销",
  problem(kind, name, offset, detail) {
    const at = `${name}（字节 ${offset}）`;
    switch (kind) {
      case "quota":
        return `无法写入 ${at}：浏览器存储空间已满。虚拟机会看到 I/O 错误；已同步的数据是安全的。请删除一些磁盘或项目以腾出空间`;
      case "damaged":
        return `无法读取 ${at}：保存的内容已损坏（${detail}）。虚拟机会看到 I/O 错误，而不是错误的数据`;
      case "read-only":
        return `无法写入 ${name}：另一个标签页的虚拟机正在使用它。虚拟机会看到 I/O 错误`;
      case "failed":
        return `无法使用 ${at}：浏览器存储拒绝访问（${detail}）。虚拟机会看到 I/O 错误`;
    }
  },
};
