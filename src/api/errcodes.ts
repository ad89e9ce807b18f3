import type { Platform } from "../errors.ts";

/** What an errcode of WeChat's or WeCom's means, for people. */
export interface ErrcodeMeaning {
  readonly platform: Platform;
  readonly errcode: number;
  /** WeChat's own word for it. */
  readonly errmsg: string;
  /** As `中文 (English)`. */
  readonly message: string;
  /** What to do, likewise. */
  readonly fix?: string;
}

/** What to do, by the word at the end of a line below. */
const FIXES: Readonly<Record<string, string>> = {
  ip: "把本服务的出口IP加入白名单，约10分钟后生效；accesstoken apps list 会给出该地址 (put this service's address on the list and wait ten minutes; accesstoken apps list shows the address)",
  token:
    "本服务会自动更换token；若反复出现，有其他程序也在获取该应用的token (this service replaces it by itself; if it keeps happening, another program fetches tokens for the app)",
  permission:
    "在微信后台核对接口权限、认证状态和账号类型 (look in WeChat's console at the interface's permission, the verification and the type of account)",
  once: "code只能用一次、5分钟内有效：检查页面是否加载了两次 (a code works once, for 5 minutes: see whether the page loaded twice)",
  confirm: "请管理员在微信中确认该IP (have the administrator confirm the address in WeChat)",
  secret:
    "在微信后台核对并更新secret：accesstoken apps set <app> (compare the secret with WeChat's console and set it: accesstoken apps set <app>)",
  later: "稍后重试，不要立即重复 (try again later, not at once)",
  unfreeze: "在微信后台解冻，10分钟后生效 (unfreeze it in WeChat's console, and wait 10 minutes)",
  quota:
    "北京时间零点恢复；每月可用/cgi-bin/clear_quota清零10次 (it is back at midnight in Beijing; /cgi-bin/clear_quota resets it ten times a month)",
  debugger: "用“签名排查”找出原因 (the signature debugger finds out why)",
  path: "以/cgi-bin/开头，不带域名和参数 (it begins with /cgi-bin/, without host and query)",
};

/**
 * A line each: errcode, errmsg, what it means in Chinese and English, and what to do.
 *
 * https://developers.weixin.qq.com/doc/oplatform/Return_codes/Return_code_descriptions_new.html
 */
const WEIXIN = `
-1|system error|微信繁忙|WeChat is busy|later
0|ok|成功|success
40001|invalid credential|token已失效或不是最新的；获取token时为secret错误|the token is invalid or not the latest; when a token is fetched, the secret is wrong|token
40002|invalid grant_type|grant_type不正确|grant_type is wrong
40003|invalid openid|openid不属于该公众号，或用户已取消关注|the openid belongs to another account, or the user has unfollowed
40007|invalid media_id|media_id不存在或已过期（临时素材3天）|no such media, or it has expired: temporary media live 3 days
40013|invalid appid|appid不正确，大小写有别|the appid is wrong; its case matters
40014|invalid access_token|token的格式不正确|the token is malformed|token
40029|invalid code|code无效|the code is invalid|once
40030|invalid refresh_token|refresh_token无效，用户须重新授权|the refresh token is invalid: the user must authorize again
40037|invalid template_id|模板不存在或不属于该账号|no such template in this account
40048|invalid url|URL不正确|the URL is wrong
40066|invalid url|没有这个接口路径|there is no such path
40097|invalid args|参数错误|a parameter is wrong
40125|invalid appsecret|secret错误，或属于另一个应用|the secret is wrong, or another app's|secret
40132|invalid username|微信号不正确|the account's name is wrong
40163|code been used|code已被使用|the code was used already|once
40164|invalid ip, not in whitelist|调用方IP不在白名单中|the address is not on the IP allow-list|ip
40226|code blocked|高风险用户，登录被拦截|a high-risk user was kept from logging in
40243|appsecret frozen|AppSecret已冻结|the AppSecret is frozen|unfreeze
41001|access_token missing|缺少access_token|there is no access_token
41002|appid missing|缺少appid|there is no appid
41004|appsecret missing|缺少secret|there is no secret
41008|missing code|缺少code|there is no code
42001|access_token expired|token已过期|the token has expired|token
42007|access_token and refresh_token exception|用户修改了微信密码，须重新授权|the user has changed the password and must authorize again
43001|require GET method|须用GET|it must be a GET
43002|require POST method|须用POST|it must be a POST
43004|require subscribe|用户未关注公众号|the user does not follow the account
43101|user refuse to accept the msg|用户拒收，或没有可用的订阅次数|the user refuses such messages, or has no subscription left
44002|empty post data|请求体为空|the body is empty
45009|reach max api daily quota limit|该接口当天的额度已用完|the interface's quota of the day is used up|quota
45011|api minute-quota reach limit|每分钟的额度已用完|the quota of the minute is used up|later
45015|response out of time limit|超出可以回复的时间（用户最后一次互动后48小时）|too late to answer: 48 hours after the user's last action
45035|access clientip is not registered|调用方IP不在白名单中|the address is not on the IP allow-list|ip
45047|out of response count limit|回复次数超出限制，等待用户再次互动|too many answers: wait for the user's next action
46003|menu no exist|没有自定义菜单|there is no menu
47001|data format error|请求体不是正确的JSON|the body is not valid JSON
47003|argument invalid|模板参数不符合要求|the template's values don't fit
48001|api unauthorized|账号没有该接口的权限，或用了别的类型账号的token|the account may not use the interface, or the token is of another type of account|permission
48002|user block receive message|用户拒收消息|the user blocks messages
48004|api forbidden for irregularities|接口因违规被封禁|the interface is banned for this account|permission
48006|forbid to clear quota|本月的清零次数已用完|this month's quota resets are used up
50001|user unauthorized|用户未授权，或接口未授权|the user or the interface is not authorized|permission
50002|user limited|账号受限：迁移、注销或冻结|the account is limited: moved, closed or frozen
50004|user not allow to use accesstoken|账号被禁止使用token|the account may not use tokens|permission
50007|account frozen|账号已冻结|the account is frozen
61003|component is not authorized|账号已取消对第三方平台的授权|the account has withdrawn the platform's authorization
61004|access clientip is not registered|调用方IP不在第三方平台的白名单中|the address is not on the platform's IP list|ip
61007|api is unauthorized to component|账号没有把该权限集授权给第三方平台|the account has not granted that permission set
61024|must use api_component_token|第三方平台的appid不能这样获取token|a platform's appid gets its token in another way
63002|invalid signature|JS-SDK签名错误|the JS-SDK signature is wrong|debugger
76001|rid not found|没有这个rid：超过7天，或不是微信的（本服务自己的错误也带rid）|no such rid: older than 7 days, or none of WeChat's; this service's own errors have one too
76003|no permission|这个rid属于另一个应用|the rid is another app's
76021|cgi_path not found|没有这个接口路径|there is no such path|path
85005|domain not configured|域名未在小程序后台配置|the domain is not configured for the Mini Program
87009|invalid signature|session_key签名校验失败|the signature by the session key is wrong
87014|risky content|内容含有违规信息|the content is against the rules
89501|waiting for confirmation|该IP等待管理员确认|the address waits for the administrator's confirmation|confirm
89503|needs confirmation|该IP需要管理员确认|the address needs the administrator's confirmation|confirm
89506|refused for 24 hours|管理员拒绝了该IP，24小时后可重试|an administrator refused the address for a day|confirm
89507|refused for an hour|管理员拒绝了该IP，1小时后可重试|an administrator refused the address for an hour|confirm
`;

/** https://developer.work.weixin.qq.com/document/path/90313 */
const WECOM = `
-1|system busy|企业微信繁忙，最多重试3次|WeCom is busy: try three times at most|later
0|ok|成功|success
40001|invalid credential|secret错误、已重置，或应用已停用|the secret is wrong or was reset, or the application is disabled|secret
40003|invalid userid|userid不存在或不在应用的可见范围|no such userid, or outside the application's scope
40013|invalid corpid|corpid不正确|the corpid is wrong
40014|invalid access_token|token无效：过期、应用不符，或类型不对|the token is invalid: expired, another application's, or of another kind|token
40029|invalid code|code无效|the code is invalid|once
40056|invalid agentid|agentid不正确|the agentid is wrong
40058|invalid parameter|参数错误，或应使用POST|a parameter is wrong, or it must be a POST
40093|invalid signature|JS-SDK签名错误|the JS-SDK signature is wrong|debugger
41001|access_token missing|缺少access_token，须放在URL中|there is no access_token in the URL
42001|access_token expired|token已过期|the token has expired|token
42022|code used|code已被使用|the code was used already|once
45009|api freq out of limit|超过频率限制，按分钟、小时、天或月封禁|too often: blocked for a minute, an hour, a day or a month|later
45033|api concurrent out of limit|并发超过限制|too many calls at once|later
48002|api forbidden|应用没有该接口的权限，例如用通讯录同步的token发消息|the application may not use the interface, such as a contacts token that sends messages|permission
48005|api retired|接口已下线|the interface is retired
50001|redirect_url unauthorized|回调域名不是可信域名（域名和端口须一致）|the redirect's domain is not trusted; the port counts too
50003|app disabled|应用已停用|the application is disabled
60011|no privilege|没有该成员、部门或标签的权限|no permission for that member, department or tag
60020|not allow to access from your ip|调用方IP不在可信IP中|the address is not among the trusted IPs|ip
60111|userid not found|userid不存在|there is no such userid
81013|all recipients invalid|接收者全部无效，或不在可见范围|no recipient is valid and within the scope
301002|not allow operate another agent|token的应用与agentid不符|the token is of another application than agentid
301007|corp dissolved or banned|企业已解散或被封禁|the corp is dissolved or banned
2000002|CorpId not found|CorpId不存在|there is no such CorpId
`;

/** What an errcode means on WeChat and on WeCom: where both have it, both. Empty for one that is not known here. */
export function meaningsOf(errcode: number): readonly ErrcodeMeaning[] {
  return [...meaningsIn("weixin", WEIXIN, errcode), ...meaningsIn("wecom", WECOM, errcode)];
}

/** Every errcode that is known here, by platform. */
export function knownErrcodes(): readonly ErrcodeMeaning[] {
  return [...meaningsIn("weixin", WEIXIN), ...meaningsIn("wecom", WECOM)];
}

function meaningsIn(platform: Platform, lines: string, wanted?: number): readonly ErrcodeMeaning[] {
  return lines
    .trim()
    .split("\n")
    .map((line) => line.split("|"))
    .filter(([errcode]) => wanted === undefined || errcode === String(wanted))
    .map(([errcode, errmsg = "", chinese, english, fix]) => ({
      ...{ platform, errcode: Number(errcode), errmsg, message: `${chinese} (${english})` },
      ...(fix === undefined ? {} : { fix: FIXES[fix] ?? fix }),
    }));
}
