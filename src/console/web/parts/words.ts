import { type Table, type Words, words } from "../language.ts";

/** What the parts say, and the words that several screens need: each screen has them beside its own. */
export const common = words({
  fresh: ["正常", "Fresh"],
  refreshing: ["获取中", "Refreshing"],
  expiring: ["即将到期", "Expiring"],
  failing: ["获取失败", "Failing"],
  blocked: ["已阻断", "Blocked"],
  none: ["未获取", "None"],
  disabled: ["已停用", "Disabled"],
  left: (duration: string) => [`剩余${duration}`, `${duration} left`],
  expired: ["已过期", "Expired"],
  lifeOf: (left: string, renewal: string) => [`${left}，${renewal}后续期`, `${left}, renewal in ${renewal}`],
  copyText: ["复制", "Copy"],
  copied: ["已复制", "Copied"],
  copyFailed: ["浏览器不允许复制，请手动选择", "The browser did not allow copying; select the text instead"],
  cancel: ["取消", "Cancel"],
  close: ["关闭", "Close"],
  retry: ["重试", "Retry"],
  loading: ["加载中…", "Loading…"],
  optional: ["选填", "optional"],
  traceId: ["追踪ID", "Trace ID"],
  wentWrong: ["出错了", "Something went wrong"],
  offline: ["无法连接服务", "The service can't be reached"],
  offlineHint: [
    "请检查网络，以及服务是否在运行；连接恢复后会自动更新。",
    "Check the network and whether the service runs; the page updates by itself once it is back.",
  ],
  retryIn: (duration: string) => [`请在${duration}后重试`, `Retry in ${duration}`],
  stale: ["未能更新，显示的是之前的数据。", "The update failed; this is the data from before."],
  forbidden: ["无权查看", "Not allowed"],
  forbiddenHint: (client: string) => [
    `客户端“${client}”没有这项权限，请联系管理员授权。`,
    `The client “${client}” lacks the grant for this; ask an administrator.`,
  ],
  storedIt: ["我已妥善保存", "I have stored it"],
  shownOnce: ["只显示这一次，关闭后无法再次查看。", "Shown this once: it can't be seen again after closing."],
  typeToConfirm: (text: string) => [`输入“${text}”以确认`, `Type “${text}” to confirm`],
  actions: ["操作", "Actions"],
  noRows: ["没有数据", "Nothing here"],
  firstPage: ["第一页", "First page"],
  nextPage: ["下一页", "Next page"],
  perPage: ["每页", "Per page"],
  shown: (count: string) => [`本页${count}条`, `${count} on this page`],
  total: (count: string) => [`共${count}条`, `${count} in all`],
  tooMany: (count: number) => [
    `只显示前${count}条，请缩小范围。`,
    `Only the first ${count} are shown; narrow the filter.`,
  ],
  views: ["视图", "Views"],
  filters: ["筛选", "Filters"],
  app: ["应用", "App"],
  state: ["状态", "State"],
  save: ["保存", "Save"],
  client: ["客户端", "Client"],
  environment: ["环境", "Environment"],
  lastUsed: ["最近使用", "Last used"],
  when: ["时间", "When"],
  outcome: ["结果", "Outcome"],
  took: ["耗时", "Took"],
  edit: ["编辑", "Edit"],
  name: ["名称", "Name"],
  removed: ["已删除", "Removed"],
  saved: ["已保存", "Saved"],
  remove: ["删除", "Remove"],
  damaged: ["已损坏", "Damaged"],
  clearFilters: ["清除筛选", "Clear the filters"],
  path: ["接口路径", "Path"],
  method: ["方法", "Method"],
  body: ["请求体", "Body"],
  answer: ["应答", "Answer"],
  weixin: ["微信", "WeChat"],
  wecom: ["企业微信", "WeCom"],
  unblock: ["解除阻断", "Unblock"],
  host: ["主机", "Host"],
  allowed: ["允许", "Allowed"],
  version: ["版本", "Version"],
});

/**
 * The texts of a screen, as `words` takes them, and beside them the common ones. One of its own by the name of a common one
 * does not compile: it would hide that from who looks it up, as `w[state]`.
 */
export function screenWords<T extends Table>(
  table: T & { readonly [K in keyof T & keyof typeof common]: never },
): Words<T> & typeof common {
  return words(table, common);
}
