/** A WeChat app that the sandbox knows when it is started from the command line. Its secret is no secret. */
export const SAMPLE_WEIXIN_APP = {
  appId: "wx0000000000000001",
  secret: "00000000000000000000000000000001",
};

/** A WeCom application that the sandbox knows when it is started from the command line. */
export const SAMPLE_WECOM_APP = {
  corpId: "ww0000000000000001",
  agent: "1000002",
  secret: "sample-wecom-secret-0000000000000000000001",
};

/** The variables under which the service holds the sample apps' secrets. */
export const SAMPLE_VARIABLES: Readonly<Record<string, string>> = {
  [`WEIXIN_SECRET_${SAMPLE_WEIXIN_APP.appId}`]: SAMPLE_WEIXIN_APP.secret,
  [`WECOM_SECRET_${SAMPLE_WECOM_APP.corpId}_${SAMPLE_WECOM_APP.agent}`]: SAMPLE_WECOM_APP.secret,
};
