/** Why WeChat or WeCom refuses a page: its id, in the order in which people should look. */
export type CauseId = keyof typeof CAUSES;

/** What is the matter, and what to do about it; both as `中文 (English)`. */
export interface CauseText {
  readonly message: string;
  readonly fix: string;
}

const SIGN_HREF = "前端传location.href.split('#')[0]，后端原样签名";
const SIGN_HREF_EN = "send location.href.split('#')[0] from the page, and sign it as it is";

/** Every cause, with what people are told. */
export const CAUSES = {
  other_app: text(
    ["页面用的appId与签名用的不是同一个应用", "the page's appId and its signature belong to different apps"],
    [
      "appId取自签名接口的应答，不要另外写死",
      "take appId from the answer that has the signature, not from elsewhere",
    ],
  ),
  wrong_ticket: text(
    ["签名用错了ticket", "the signature was made with the wrong kind of ticket"],
    [
      "wx.config用jsapi_ticket，wx.agentConfig用agent_config_ticket；卡券ticket和access_token都不能用来签页面",
      "wx.config needs the jsapi_ticket, wx.agentConfig the agent_config_ticket; neither a card ticket nor an access token signs a page",
    ],
  ),
  old_ticket: text(
    ["签名用的是已被替换的ticket", "the signature was made with a ticket that has been replaced since"],
    [
      "不要缓存签名或ticket，每次打开页面都向本服务请求；并停用其他自行获取ticket的程序",
      "cache neither signatures nor tickets: ask this service for each page, and stop other programs that fetch tickets",
    ],
  ),
  unknown_ticket: text(
    ["粘贴的ticket不是本服务持有的", "the ticket that was pasted is none of this service's"],
    [
      "有其他程序自行获取ticket，或环境不同（如沙箱）；请改为向本服务请求签名",
      "another program fetches tickets, or this is another environment (a sandbox?): have the page signed here",
    ],
  ),
  string_form: text(
    ["参与签名的字符串格式不对", "the string that was hashed has the wrong form"],
    [
      "依次为jsapi_ticket、noncestr、timestamp、url，名称全部小写，值不编码，再取小写的SHA-1",
      "jsapi_ticket, noncestr, timestamp, url in this order, names in small letters, values not encoded; then SHA-1 in small letters",
    ],
  ),
  hash_included: text(
    ["签名的地址含有#及其后的部分", "the signed address has its # and what follows"],
    [SIGN_HREF, SIGN_HREF_EN],
  ),
  html_escaped: text(
    ["签名的地址中&被转义成了&amp;", "& became &amp; in the signed address: it was escaped for HTML"],
    [
      "不要把模板转义后的地址用于签名；在脚本中直接取location.href",
      "do not sign an address that a template has escaped: read location.href in the script",
    ],
  ),
  encoding: text(
    ["签名的地址多编码或少编码了一次", "the signed address was encoded or decoded once too often"],
    [
      "用encodeURIComponent传参时后端只解码一次；用JSON传参则不要编码",
      "decode once what encodeURIComponent has encoded; in JSON do not encode at all",
    ],
  ),
  scheme: text(
    [
      "签名的地址协议不对（http与https不同）",
      "the signed address has the wrong scheme: http and https differ",
    ],
    [
      "反向代理之后后端看到的是http：由前端传地址，或采用X-Forwarded-Proto",
      "behind a proxy the back end sees http: send the address from the page, or use X-Forwarded-Proto",
    ],
  ),
  url_form: text(
    [
      "签名的地址写法与浏览器不同（末尾的/、大小写、默认端口或多余的?）",
      "the signed address is written otherwise than browsers do: slash, capitals, default port or a lone ?",
    ],
    [SIGN_HREF, SIGN_HREF_EN],
  ),
  added_parameters: text(
    [
      "分享或网页授权给地址增减了参数（from、isappinstalled、code、state等）",
      "sharing or the authorization has changed the parameters: from, isappinstalled, code, state and the like",
    ],
    [
      "为页面当前的地址签名，不要用固定的或缓存的地址",
      "sign the address that the page has now, not a fixed or a cached one",
    ],
  ),
  ios_landing_url: text(
    [
      "iOS的单页应用以首次进入时的地址为准，路由切换后的地址无效",
      "on iOS a single-page app counts by the address it was entered by, whatever the router made of it",
    ],
    [
      "进入时保存location.href，iOS上始终为它签名；Android上为当前地址签名，切换路由后重新调用wx.config",
      "keep location.href as it was on entering and sign that on iOS; on Android sign the current one, and call wx.config again after each change of route",
    ],
  ),
  other_page: text(
    [
      "签名的是另一个地址（域名、路径或参数不同）",
      "another address was signed: host, path or parameters differ",
    ],
    [SIGN_HREF, SIGN_HREF_EN],
  ),
  timestamp_form: text(
    ["timestamp不是以秒为单位的整数", "timestamp is not in whole seconds"],
    [
      "毫秒除以1000后取整，签名和wx.config用同一个值",
      "divide milliseconds by 1000 and round down; the same value in the signature and in wx.config",
    ],
  ),
  timestamp_type: text(
    ["timestamp是带引号的字符串", "timestamp is a string in quotes"],
    ["在wx.config中传数字", "pass a number to wx.config"],
  ),
  stale_timestamp: text(
    [
      "timestamp已超过两小时，签名多半被缓存了",
      "timestamp is more than two hours old: the signature was probably cached",
    ],
    ["每次打开页面都重新请求签名", "ask for a signature each time that the page is opened"],
  ),
  nonce_name: text(
    ["nonceStr拼写不对", "nonceStr is spelt wrong"],
    [
      "wx.config中写nonceStr（S大写），参与签名的字符串中写noncestr（全小写）",
      "it is nonceStr in wx.config, and noncestr in the string that is hashed",
    ],
  ),
  signature_form: text(
    ["signature不是40位小写十六进制", "signature is not 40 small hex digits"],
    [
      "算法是SHA-1（不是MD5、SHA-256，也不是Base64），结果小写",
      "it is SHA-1, neither MD5 nor SHA-256 nor Base64, in small letters",
    ],
  ),
  url_domain: text(
    [
      "页面的域名不在JS接口安全域名（企业微信：可信域名）内",
      "the page's host is not among the JS domains (WeCom: trusted domains)",
    ],
    [
      "在微信后台添加该域名。公众号不支持IP和端口；企业微信的可信域名须连同端口填写。再执行 accesstoken apps set <app> --js-domains",
      "add it in WeChat's console: an Official Account takes no IP and no port, WeCom wants the port with the host; then accesstoken apps set <app> --js-domains",
    ],
  ),
  agent_config_client: text(
    [
      "wx.agentConfig只能在企业微信客户端中使用，且corpid须为当前用户所在的企业",
      "wx.agentConfig works in the WeCom client alone, and corpid must be the corp of the user",
    ],
    [
      "在企业微信中打开页面（不是微信，也不是开发者工具），用该企业的成员登录",
      "open the page in WeCom, neither in WeChat nor in DevTools, as a member of that corp",
    ],
  ),
  permission_denied: text(
    ["该接口不在jsApiList中，或账号没有权限", "the call is not in jsApiList, or the account may not use it"],
    [
      "把接口加入jsApiList，在wx.ready之后调用，并在微信后台核对接口权限和认证状态",
      "add it to jsApiList, call it after wx.ready, and look in WeChat's console whether the account may use it",
    ],
  ),
  not_configured: text(
    ["wx.config尚未成功就调用了接口", "an interface was called before wx.config succeeded"],
    [
      "在wx.ready中调用，并用debug: true查看wx.config的结果",
      "call it in wx.ready, and see by debug: true how wx.config ended",
    ],
  ),
  incomplete: text(
    [
      "缺少timestamp、nonceStr或signature，无法核对签名",
      "timestamp, nonceStr or signature is missing: the signature can't be checked",
    ],
    ["粘贴完整的wx.config", "paste the whole wx.config"],
  ),
  no_match: text(
    [
      "没有任何地址和ticket的组合能得出这个signature",
      "no address and ticket that were tried give this signature",
    ],
    [
      "签名的多半是别的地址，或用了别的程序的ticket：打印后端参与签名的字符串，整行粘贴到这里",
      "another address was signed, or with another program's ticket: print the string that the back end hashes, and paste that line here",
    ],
  ),
  correct: text(
    ["签名与这个地址完全相符", "the signature is right for this address"],
    [
      "若仍报错，说明微信看到的是另一个地址：在手机上alert(location.href)，连同iOS上首次进入的地址一起粘贴",
      "if it is refused all the same, WeChat sees another address: alert(location.href) on the phone and paste it, on iOS with the one it was entered by",
    ],
  ),
} satisfies Record<string, CauseText>;

function text(message: readonly [zh: string, en: string], fix: readonly [zh: string, en: string]): CauseText {
  return { message: `${message[0]} (${message[1]})`, fix: `${fix[0]} (${fix[1]})` };
}
