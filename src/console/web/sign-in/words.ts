import { screenWords } from "../parts/words.ts";

export const w = screenWords({
  title: ["登录", "Sign in"],
  key: ["API密钥", "API key"],
  keyHint: [
    "以 ats_ 开头，只用于换取本次会话，浏览器不会保存。",
    "Begins with ats_. It is exchanged for a session, and never kept in the browser.",
  ],
  signIn: ["登录", "Sign in"],
  noKey: ["没有密钥？", "No key?"],
  noKeyLogin: ["在服务器上执行，获取一次性登录链接：", "On the server, get a sign-in link that works once:"],
  noKeySetup: ["首次使用，还没有管理员：", "New here, and no administrator yet:"],
  noKeyAsk: ["否则请向管理员索取密钥。", "Otherwise ask an administrator for a key."],
  insecure: ["这里无法登录：连接未加密", "No sign-in here: the connection is not encrypted"],
  insecureHint: [
    "浏览器只在HTTPS上保存安全的会话Cookie，明文HTTP还会泄露您的密钥。任选一种方式：",
    "Browsers keep a secure session only over HTTPS, and plain HTTP would show your key to the network. Choose one:",
  ],
  insecureProxy: [
    "在服务前面配置HTTPS反向代理（nginx、Caddy等），并把它列入 TRUSTED_PROXIES。",
    "Put a proxy with HTTPS in front of the service (nginx, Caddy, …), and list it in TRUSTED_PROXIES.",
  ],
  insecureTunnel: (url: string) => [
    `或建立SSH隧道，然后打开 ${url} ：`,
    `Or open a tunnel by SSH, then ${url}:`,
  ],
  unreachable: ["无法连接服务", "The service can't be reached"],
  unreachableHint: ["请检查服务是否在运行，然后重试。", "Check that it runs, then try again."],
  command: ["命令", "Command"],
  setUp: ["创建管理员", "Create the administrator"],
  setUpHint: [
    "将创建客户端“admin”及其密钥。链接只能使用一次。",
    "This creates the client “admin” and its key. The link works once.",
  ],
  create: ["创建并登录", "Create and sign in"],
  adminKey: ["管理员密钥", "The administrator's key"],
  adminKeyHint: [
    "请存入密码管理器：登录本控制台和调用管理API都用它。丢失后，可在服务器上重新生成登录链接。",
    "Put it into your password manager: it signs in here, and calls the API as an administrator. If it is lost, the server can make a sign-in link.",
  ],
  linkDead: ["链接无效、已使用或已过期", "The link is invalid, used or expired"],
  linkDeadHint: ["在服务器上生成新的链接：", "Make a new one on the server:"],
  toSignIn: ["去登录", "Sign in"],
  tagline: ["统一管理微信与企业微信的access_token", "The one holder of WeChat's and WeCom's access tokens"],
});
