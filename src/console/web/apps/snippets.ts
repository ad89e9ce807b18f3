/** How one SDK is set up, as its page of the documentation says it, for the app and the host that these pages use. */
export interface Snippet {
  readonly sdk: string;
  readonly platform: "weixin" | "wecom";
  readonly text: string;
  /** Whether it needs `SHARED_HOSTS` as well. */
  readonly needsHosts?: boolean;
}

/** By what an app is known to its programs. */
interface AppIds {
  readonly platform: "weixin" | "wecom";
  readonly app_id: string;
  readonly agent?: string;
}

/** What the Go SDKs with WeChat's hosts in their source have in common. */
export const SHARED_HOSTS = `// sharedHosts sends what is meant for WeChat and WeCom to base.
type sharedHosts struct {
	base *url.URL
	next http.RoundTripper
}

func (s sharedHosts) RoundTrip(request *http.Request) (*http.Response, error) {
	switch request.URL.Host {
	case "api.weixin.qq.com", "qyapi.weixin.qq.com", "file.api.weixin.qq.com":
		request = request.Clone(request.Context())
		request.URL.Scheme, request.URL.Host, request.Host = s.base.Scheme, s.base.Host, ""
	}
	return s.next.RoundTrip(request)
}

func toSharedHosts(address string) http.RoundTripper {
	base, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	return sharedHosts{base, http.DefaultTransport}
}
`;

/** For each SDK that the documentation has; a test holds that they are its own words. */
export const SNIPPETS: readonly Snippet[] = [
  {
    sdk: "node-easywechat",
    platform: "weixin",
    text: `import { OfficialAccount } from "node-easywechat";

const app = new OfficialAccount({
  app_id: "wx0123456789abcdef",
  secret: "ats_yourApiKey",
  http: { baseURL: "http://127.0.0.1:3000" },
});
`,
  },
  {
    sdk: "co-wechat-api",
    platform: "weixin",
    text: `import Api from "co-wechat-api";

const api = new Api("wx0123456789abcdef", "ats_yourApiKey");
api.prefix = "http://127.0.0.1:3000/cgi-bin/";
api.snsPrefix = "http://127.0.0.1:3000/sns/";
api.wxaPrefix = "http://127.0.0.1:3000/wxa/";
api.customservicePrefix = "http://127.0.0.1:3000/customservice/";
`,
  },
  {
    sdk: "wechat-jssdk",
    platform: "weixin",
    text: `import { Wechat } from "wechat-jssdk";

const wx = new Wechat({
  appId: "wx0123456789abcdef",
  appSecret: "ats_yourApiKey",
  accessTokenUrl: "http://127.0.0.1:3000/cgi-bin/token",
  ticketUrl: "http://127.0.0.1:3000/cgi-bin/ticket/getticket",
  apiUrl: "http://127.0.0.1:3000",
});
`,
  },
  {
    sdk: "EasyWeChat 6 (PHP)",
    platform: "weixin",
    text: `use EasyWeChat\\OfficialAccount\\Application;

$app = new Application([
    'app_id' => 'wx0123456789abcdef',
    'secret' => 'ats_yourApiKey',
    'http' => ['base_uri' => 'http://127.0.0.1:3000/'],
]);
$app->getClient()->get('/cgi-bin/getcallbackip')->toArray();
$app->getUtils()->buildJsSdkConfig('https://shop.example.com/', ['chooseImage']);
`,
  },
  {
    sdk: "WxJava",
    platform: "weixin",
    text: `WxMpDefaultConfigImpl config = new WxMpDefaultConfigImpl();
config.setAppId("wx0123456789abcdef");
config.setSecret("ats_yourApiKey");
config.setHostConfig(WxMpHostConfig.builder().apiHost("http://127.0.0.1:3000").build());
WxMpService mp = new WxMpServiceImpl();
mp.setWxMpConfigStorage(config);

String[] addresses = mp.getCallbackIP();
WxJsapiSignature signature = mp.createJsapiSignature("https://shop.example.com/");
WxOAuth2AccessToken user = mp.getOAuth2Service().getAccessToken(code);
`,
  },
  {
    sdk: "silenceper/wechat (Go)",
    platform: "weixin",
    needsHosts: true,
    text: `util.DefaultHTTPClient = &http.Client{Transport: toSharedHosts("http://127.0.0.1:3000")}

account := wechat.NewWechat().GetOfficialAccount(&config.Config{
	AppID:     "wx0123456789abcdef",
	AppSecret: "ats_yourApiKey",
	Cache:     cache.NewMemory(),
})
addresses, err := account.GetBasic().GetCallbackIP()
`,
  },
  {
    sdk: "PowerWeChat (Go)",
    platform: "weixin",
    needsHosts: true,
    text: `http.DefaultTransport = toSharedHosts("http://127.0.0.1:3000")

app, err := officialAccount.NewOfficialAccount(&officialAccount.UserConfig{
	AppID:  "wx0123456789abcdef",
	Secret: "ats_yourApiKey",
})
addresses, err := app.Base.GetCallbackIP(context.Background())
`,
  },
  {
    sdk: "chanxuehong/wechat (Go)",
    platform: "weixin",
    needsHosts: true,
    text: `util.DefaultHttpClient.Transport = toSharedHosts("http://127.0.0.1:3000")
util.DefaultMediaHttpClient.Transport = toSharedHosts("http://127.0.0.1:3000")

server := core.NewDefaultAccessTokenServer("wx0123456789abcdef", "ats_yourApiKey", nil)
client := core.NewClient(server, nil)
addresses, err := base.GetCallbackIP(client)
`,
  },
  {
    sdk: "wechatpy (Python)",
    platform: "weixin",
    text: `from wechatpy import WeChatClient

HERE = "http://127.0.0.1:3000"


def here(url):
    return url.replace("https://api.weixin.qq.com", HERE).replace("https://qyapi.weixin.qq.com", HERE)


class SharedClient(WeChatClient):
    API_BASE_URL = HERE + "/cgi-bin/"

    def _request(self, method, url_or_endpoint, **kwargs):
        if "api_base_url" in kwargs:
            kwargs["api_base_url"] = here(kwargs["api_base_url"])
        return super()._request(method, here(url_or_endpoint), **kwargs)

    def fetch_access_token(self):
        params = {"grant_type": "client_credential", "appid": self.appid, "secret": self.secret}
        return self._fetch_access_token(url=HERE + "/cgi-bin/token", params=params)


client = SharedClient("wx0123456789abcdef", "ats_yourApiKey")
client.misc.get_wechat_ips()
client.jsapi.get_jsapi_signature("nonce", client.jsapi.get_jsapi_ticket(), 1795350141, "https://shop.example.com/")
client.wxa.code_to_session("codeOfWxLogin")
`,
  },
  {
    sdk: "Senparc.Weixin (C#)",
    platform: "weixin",
    text: `Senparc.Weixin.Config.ApiMpHost = "http://127.0.0.1:3000";
Senparc.Weixin.Config.ApiMpFileHost = "http://127.0.0.1:3000";
Senparc.Weixin.Config.ApiWorkHost = "http://127.0.0.1:3000";

await AccessTokenContainer.RegisterAsync("wx0123456789abcdef", "ats_yourApiKey");
var addresses = CommonApi.GetCallBackIp("wx0123456789abcdef");
`,
  },
  {
    sdk: "node-easywechat",
    platform: "wecom",
    text: `import { Work } from "node-easywechat";

const app = new Work({
  corp_id: "ww0123456789abcdef",
  secret: "ats_yourApiKey",
  http: { baseURL: "http://127.0.0.1:3000" },
});
`,
  },
  {
    sdk: "WxJava",
    platform: "wecom",
    text: `WxCpDefaultConfigImpl config = new WxCpDefaultConfigImpl();
config.setCorpId("ww0123456789abcdef");
config.setCorpSecret("ats_yourApiKey");
config.setAgentId(1000002);
config.setBaseApiUrl("http://127.0.0.1:3000");
WxCpService cp = new WxCpServiceImpl();
cp.setWxCpConfigStorage(config);

WxJsapiSignature signature = cp.createJsapiSignature("https://shop.example.com/");
`,
  },
  {
    sdk: "go-workwx (Go)",
    platform: "wecom",
    text: `app := workwx.New("ww0123456789abcdef", workwx.WithQYAPIHost("http://127.0.0.1:3000")).WithApp("ats_yourApiKey", 1000002)
app.SpawnAccessTokenRefresher()
`,
  },
];

/** A text of the documentation with the ids of this app and this host in the place of its own. */
export function forApp(text: string, { app_id: id, agent = "", platform }: AppIds, origin: string): string {
  return text
    .replaceAll(platform === "wecom" ? "ww0123456789abcdef" : "wx0123456789abcdef", id)
    .replaceAll("http://127.0.0.1:3000", origin)
    .replaceAll("1000002", /^\d+$/.test(agent) ? agent : "1000002");
}
