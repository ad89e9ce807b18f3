import type { PushKey } from "../../src/callbacks/push-crypto.ts";
import { Secret } from "../../src/secret.ts";

function keyOf(token: string, encodingAesKey: string): PushKey {
  return { token: new Secret(token), encodingAesKey: new Secret(encodingAesKey) };
}

/** Tokens and EncodingAESKeys of published examples, and ours. */
export const KEYS = {
  OFFICIAL: keyOf("AAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
  SAMPLE: keyOf("spamtest", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"),
  WECOM_SAMPLE: keyOf("QDG6eK", "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"),
  WECOM_2021: keyOf("pcoLldqMu2WQQtYBeDX5HiXPsBFlTnDM", "CyjBvGm4tJNmcThkeL5Wajzom4jKlBygKtpTkYeqsnE"),
  WECOM_TOOL: keyOf("kjr2TKI8umCBfVF3wAHk8JiPwma5VBme", "4Ma3YBrSBbX2aez8MJpXGBne5LSDwgGqHbhM9WPYIws"),
  COMPONENT_2015: keyOf("senparc", "0123456789012345678901234567890123456789012"),
  DINGTALK: keyOf("tokenxxxx", "o1w0aum42yaptlz8alnhwikjd3jenzt9cb9wmzptgus"),
  MADE_UP: keyOf("sandboxtoken2", "accesstokenSandboxKey0123456789abcdefghijkL"),
} as const;

export interface PushVector {
  readonly name: string;
  readonly key: PushKey;
  readonly receiveId: string;
  readonly timestamp?: string;
  readonly nonce?: string;
  /** Known where encryption can be repeated. */
  readonly random?: string;
  readonly message?: string;
  readonly encrypted?: string;
  readonly msgSignature?: string;
  readonly signature?: string;
}

/**
 * Messages of WeChat's and WeCom's documents, of their real traffic and of ours, with what is known of each. DingTalk
 * encrypts and signs in the same way.
 */
export const VECTORS: readonly PushVector[] = [
  {
    name: "a mini program's JSON push of WeChat's page",
    key: KEYS.OFFICIAL,
    receiveId: "wxba5fad812f8e6fb9",
    timestamp: "1714112445",
    nonce: "415670741",
    random: "a8eedb185eb2fecf",
    message:
      '{"ToUserName":"gh_97417a04a28d","FromUserName":"o9AgO5Kd5ggOC-bXrbNODIiE3bGY","CreateTime":1714112445,"MsgType":"event","Event":"debug_demo","debug_str":"hello world"}',
    encrypted:
      "+qdx1OKCy+5JPCBFWw70tm0fJGb2Jmeia4FCB7kao+/Q5c/ohsOzQHi8khUOb05JCpj0JB4RvQMkUyus8TPxLKJGQqcvZqzDpVzazhZv6JsXUnnR8XGT740XgXZUXQ7vJVnAG+tE8NUd4yFyjPy7GgiaviNrlCTj+l5kdfMuFUPpRSrfMZuMcp3Fn2Pede2IuQrKEYwKSqFIZoNqJ4M8EajAsjLY2km32IIjdf8YL/P50F7mStwntrA2cPDrM1kb6mOcfBgRtWygb3VIYnSeOBrebufAlr7F9mFUPAJGj04=",
    msgSignature: "046e02f8204d34f8ba5fa3b1db94908f3df2e9b3",
    signature: "6c5c811b55cc85e0e1b54100749188c20beb3f5d",
  },
  {
    name: "the JSON reply of WeChat's page",
    key: KEYS.OFFICIAL,
    receiveId: "wxba5fad812f8e6fb9",
    timestamp: "1713424427",
    nonce: "415670741",
    random: "707722b803182950",
    message: '{"demo_resp":"good luck"}',
    encrypted: "ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm48Y4hyRbtzve1L32tmxSQ==",
    msgSignature: "1b9339964ed2e271e7c7b6ff2b0ef902fc94dea1",
  },
  {
    name: "a component's XML push of WeChat's page",
    key: KEYS.OFFICIAL,
    receiveId: "wx134c8103faa5a59e",
    timestamp: "1715943329",
    nonce: "1590219412",
    random: "1205899eaf019bbd",
    message:
      "<xml><ToUserName><![CDATA[gh_97417a04a28d]]></ToUserName>\n<FromUserName><![CDATA[o9AgO5Kd5ggOC-bXrbNODIiE3bGY]]></FromUserName>\n<CreateTime>1715943329</CreateTime>\n<MsgType><![CDATA[event]]></MsgType>\n<Event><![CDATA[debug_demo]]></Event>\n<debug_str><![CDATA[hello world]]></debug_str>\n</xml>",
    encrypted:
      "D7yzvUNAL930rd28wf21s4hvXhz0L6Uit/p2Di6C5DHyYGpEgdBRnKjBec34JwoQXicwaZC7fOVihW80F4VtsdvE//1vr7oAbqjDv8KenVp+ajKYpJnyQ4zMRhIC+a31fCVOMC03FfzV/QuC94kBP55a+Za3sJgvAn+ZbsNqZI5DkyuzkhQN8OBqCzFhizGmy0xpM0MEA4agpvE+RuNO1rhHTtuJB5yltw1FiYzecSXJ+y/D2r81VkRn2eYjh2ltsoyfbDR7Is6ookXIFxTfyeNyeHxMeT4KN5WpCDmSbTcUYrbBUlkGLJ9n/rU8YOywma6G7aTb7KZKOqCxgfoUlYEZPk4FUL/TK7ShriFDMVCLyjQJ15Ob++agDWtcxhfUfe6HIoIpRW8mKNBQiY/Jd1svvuskA1wLef1RTtzKfMpagSCX/laZINmdnX4zrF6kIaR9P4xQrWXbsTFHTYe0Mg==",
    msgSignature: "6c12a4205838198b8fa631b3220723bb07f1015c",
    signature: "cc0c594499c1634947d5b502f158ee518947db27",
  },
  {
    name: "the XML reply of WeChat's page",
    key: KEYS.OFFICIAL,
    receiveId: "wx134c8103faa5a59e",
    timestamp: "1713424427",
    nonce: "415670741",
    random: "999951349e8ee746",
    message: "<xml><demo_resp>[CDATA[good luck]]</demo_resp></xml>",
    encrypted:
      "hE8R6mGXHkJJjU72KxzKUd1GEkKJaEZq7vRL8XgK3o+00k8JGq6+pZJUIlTSyhsX+bxIBQ72g3GyvDdIZcr6+3HAZbSvPT9t/o11MI7d6WELwqrGd7jMnV0zv3Zc9Nq7",
    msgSignature: "03e0812039325c2712ef5f0f980fd14c70d6e307",
  },
  {
    name: "a text message of WeChat's sample programs",
    key: KEYS.SAMPLE,
    receiveId: "wx2c2769f8efd9abc2",
    timestamp: "1409735669",
    nonce: "1320562132",
    random: "89465c840c5f116f",
    encrypted:
      "hyzAe4OzmOMbd6TvGdIOO6uBmdJoD0Fk53REIHvxYtJlE2B655HuD0m8KUePWB3+LrPXo87wzQ1QLvbeUgmBM4x6F8PGHQHFVAFmOD2LdJF9FrXpbUAh0B5GIItb52sn896wVsMSHGuPE328HnRGBcrS7C41IzDWyWNlZkyyXwon8T332jisa+h6tEDYsVticbSnyU8dKOIbgU6ux5VTjg3yt+WGzjlpKn6NPhRjpA912xMezR4kw6KWwMrCVKSVCZciVGCgavjIQ6X8tCOp3yZbGpy0VxpAe+77TszTfRd5RJSVO/HTnifJpXgCSUdUue1v6h0EIBYYI1BD1DlD+C0CR8e6OewpusjZ4uBl9FyJvnhvQl+q5rv1ixrcpCumEPo5MJSgM9ehVsNPfUM669WuMyVWQLCzpu9GhglF2PE=",
    msgSignature: "5d197aaffba7e9b25a30732f161a50dee96bd5fa",
    signature: "16120ec1b8dbb870f510d87ce6bc2463eae6ca1a",
  },
  {
    name: "a text message that WeCom sent in 2021",
    key: KEYS.WECOM_2021,
    receiveId: "wwedab3d5fc43636d8",
    timestamp: "1623301925",
    nonce: "1624217036",
    random: "7280972634e7f649",
    message:
      "<xml><ToUserName><![CDATA[wwedab3d5fc43636d8]]></ToUserName><FromUserName><![CDATA[WangChaoYi]]></FromUserName><CreateTime>1623301925</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[密文测试]]></Content><MsgId>6972028683187026694</MsgId><AgentID>1000005</AgentID></xml>",
    encrypted:
      "ZBY4h9SD1Y/v+ighMGU4yHSVWyMuf2UdQQfFuB8S/SY5il9MynR1rtKIJDG871vOqaCs0FVje6bX0VyhvL02PG7FXjRR+rAyiwVv7T7nBGgamkPeOv4n/jXgFQnY6NEt3Zym09t4aI+21pDcE6uN6JzcC+hxw5sBfVyza3NHyuLiyhvalsFbasA4HNcnK+4/3eZLMo+e6yvHUsY4WhmZWW5u5mHcDZm1jtI2fUtzod6Sx7PrCOhm+zUO1I98OD0EmICxHHMjMkGmSFuGhG8vXRKaRavzvV/fkscZK1HjW+XJOV0c9wYDZT+/LTjDS/yx5KkM5lIksiw57DsCro9gvmE1WdvB3bw3m+5ie2x1ZRSuh6ik1rbMTiXgJXt0MnbV8VsyPe1zhkbug1cwdhT9zcOTieb0oyiIl3wSAEkNNBNBaWB+78V1hM/ngMoZgKaaasJUCGtPH/rN+YnxGicDOg==",
    msgSignature: "d728d2bea7e28585ebd14eacbd330d84073fe7f1",
  },
  {
    name: "the GET check that WeCom sent in 2021",
    key: KEYS.WECOM_2021,
    receiveId: "wwedab3d5fc43636d8",
    timestamp: "1623292419",
    nonce: "1623324060",
    message: "6058207018001857403",
    encrypted: "o1XtmVltGmUAqoWee54yd4Q5ZBgrw4/9lFo5qdZoVPd1DybzarjuYCfFlR2AFbAcWHwFgmbrVBD+f9910QIF6g==",
    msgSignature: "1495c4dfd4958d4e5faf618978ae66943a042f87",
  },
  {
    name: "the GET check of WeCom's sample programs",
    key: KEYS.WECOM_SAMPLE,
    receiveId: "wx5823bf96d3bd56c7",
    timestamp: "1409659589",
    nonce: "263014780",
    message: "1616140317555161061",
    encrypted: "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ==",
    msgSignature: "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3",
  },
  {
    name: "the GET check of WeCom's test tool",
    key: KEYS.WECOM_TOOL,
    receiveId: "ww6a112864f8022910",
    timestamp: "1583940690",
    nonce: "VHh7ymSeb0jc4lSb",
    message: "94966531020182955848408",
    encrypted: "6KmUQuPVu7UhjyVqRdbo5SfcRqaHvbUlKSHFvBV2ZuR6TIlKsygcfeSd1GDplg1C5KSKr6UPHCaC/nIX3ZNt9w==",
    msgSignature: "1ba3cb09c0d2c2b3ed6900d37f91a6efae6cb011",
  },
  {
    name: "a text message of WeCom's sample programs",
    key: KEYS.WECOM_SAMPLE,
    receiveId: "wx5823bf96d3bd56c7",
    timestamp: "1409659813",
    nonce: "1372623149",
    encrypted:
      "RypEvHKD8QQKFhvQ6QleEB4J58tiPdvo+rtK1I9qca6aM/wvqnLSV5zEPeusUiX5L5X/0lWfrf0QADHHhGd3QczcdCUpj911L3vg3W/sYYvuJTs3TUUkSUXxaccAS0qhxchrRYt66wiSpGLYL42aM6A8dTT+6k4aSknmPj48kzJs8qLjvd4Xgpue06DOdnLxAUHzM6+kDZ+HMZfJYuR+LtwGc2hgf5gsijff0ekUNXZiqATP7PF5mZxZ3Izoun1s4zG4LUMnvw2r+KqCKIw+3IQH03v+BCA9nMELNqbSf6tiWSrXJB3LAVGUcallcrw8V2t9EL4EhzJWrQUax5wLVMNS0+rUPA3k22Ncx4XXZS9o0MBH27Bo6BpNelZpS+/uh9KsNlY6bHCmJU9p8g7m3fVKn28H3KDYA5Pl/T8Z1ptDAVe0lXdQ2YoyyH2uyPIGHBZZIs2pDBS8R07+qN+E7Q==",
    msgSignature: "477715d11cdb4164915debcba66cb864d751f3e6",
  },
  {
    name: "a component_verify_ticket that WeChat sent in 2015",
    key: KEYS.COMPONENT_2015,
    receiveId: "wxbbd3f07e2945cf2a",
    timestamp: "1436881222",
    nonce: "296318614",
    message:
      "<xml><AppId><![CDATA[wxbbd3f07e2945cf2a]]></AppId>\n<CreateTime>1436881222</CreateTime>\n<InfoType><![CDATA[component_verify_ticket]]></InfoType>\n<ComponentVerifyTicket><![CDATA[ticket@@@hXh2446N-P9OOZqW4EeuPO9zFXEnAz5Vzc0JaWczBkIqcw2javRF0C_VVdwVYrEwyw1xHOiui7gB0WqKaYPMUQ]]></ComponentVerifyTicket>\n</xml>",
    encrypted:
      "/RWeOUN4J839ynYH960Duj2k0WwvSfwq2dBFQ1NG78v9CZKbiCk5F8Fq/RGV0oFALoy+2L7KDe+1EbitZK7T4KtHMxntcEeQDxhWGdbeyTYJStcl7pudKA/ltfPP2nDbMrvmdl6JAX/XY4El0XEaYMrxegU3B1aUMZJ1GDjz9pIFv5+DPWj2mf7mhwIKcJSfeMctifS5UyJHKmIM+gnPQjtcKsVdnjaLckEScUsKKTygeG9IOtWFfE720W6g5UfOg3yxPFCUrqjWKRTue7g0yT0vQyb0L5cODKh1bCjIRcgikJsRVo3tAX1QO/CrHzKEEDqaD3Rx1hRkvRl/2KQlFd/DkhOzWp1LmpsCZQiNj0Fdc41aVleaFrwUQ8svg9Wt2iJLDhdqlz1Us2Pb6Ayx3dJLhXtb4ynJGsPFq0N8RrCuLgU391BpAiga5JBcjzS50pfvBBEEPQDyAE7znPphrA==",
    msgSignature: "066523677e42a15c64a725ba0058cd7651174624",
    signature: "60d1ddec039f51cc8c7ee4ea9ae9a479dd7c7d01",
  },
  {
    name: "a made-up component_verify_ticket",
    key: KEYS.WECOM_SAMPLE,
    receiveId: "wx5823bf96d3bd56c7",
    timestamp: "1413192605",
    nonce: "1372623149",
    random: "0123456789abcdef",
    message:
      "<xml><AppId><![CDATA[wx5823bf96d3bd56c7]]></AppId><CreateTime>1413192605</CreateTime><InfoType><![CDATA[component_verify_ticket]]></InfoType><ComponentVerifyTicket><![CDATA[ticket@@@TESTTICKET0001]]></ComponentVerifyTicket></xml>",
    encrypted:
      "sKqRbbiSUnDhFHOvPjtUMQaX+kE/nrOkObgdUH8bCUkHdjcOq4TpQJ4Nsnvg9Sq629fKqCMXvAum1D3vDJyyq4nhsFFtSG+bUZAJmRiSh0q+QhGUuKn7gM+L9AhH5XEKnqJJvnMSLyxmVD3hlwmwMSKiyP1JoqcTjhk985hI2tyHNqqaugI+D93qss+GoHOujF7zDDpUicq8XzQGQR55yQPPOAhndGn8E6pOFpJOS/RaA4M8rDlJI2UIWfCfHd76QYn82yAigfBDuEP5ekfKcWkWi7n9zHT127a5M4k/PUxFUmhSx1e4HTysX/dLuLE3cPqTOPs4Y0PmZv+nH9b4N+rCETc01/0r8QA2E9H/HvVOUxqRZdpE6Am+DSMzbB1A",
    msgSignature: "08a62f6b4dba46e340327c706e7851e1c496515d",
    signature: "40410860955a7c4eeb2dc082d3ec050829853441",
  },
  {
    name: "WxJava's example of encryption",
    key: KEYS.SAMPLE,
    receiveId: "wxb11529c136998cb6",
    random: "aaaabbbbccccdddd",
    message: "我是中文abcd123",
    encrypted: "jn1L23DB+6ELqJ+6bruv21Y6MD7KeIfP82D6gU39rmkgczbWwt5+3bnyg5K55bgVtVzd832WzZGMhkP72vVOfg==",
  },
  {
    name: "authorized",
    key: KEYS.MADE_UP,
    receiveId: "wxc000000000000001",
    timestamp: "1790000000",
    nonce: "1000000001",
    random: "f1f1f1f1f1f1f1f1",
    message:
      "<xml><AppId><![CDATA[wxc000000000000001]]></AppId><CreateTime>1790000000</CreateTime><InfoType><![CDATA[authorized]]></InfoType><AuthorizerAppid><![CDATA[wxa000000000000001]]></AuthorizerAppid><AuthorizationCode><![CDATA[queryauthcode@@@FAKE0001]]></AuthorizationCode><AuthorizationCodeExpiredTime>1790003600</AuthorizationCodeExpiredTime><PreAuthCode><![CDATA[preauthcode@@@FAKE0001]]></PreAuthCode></xml>",
    encrypted:
      "cqFQutltSf4lu9k2S31rH7Id+ZxzZn45jCpdSYZtDWClnKkm8jARqFaoV502AlimtLZoP8hr3aOc1qfdBmjV8lPMVCkQy5LsOq539lQBqsYQ4hpxDDBQh/OLhUv4bAWBwgY5ZQUGrY+hpjm3clfPLjrNNuGCEmQTkc9bhNr5LxZmFbvFeb5b2gTvY70CGCmeDMOir/Bv5lbfrYuRknF3bP7De2A2Uz8bh1lTC+S2sEDc8+Nk56PTA/kLvcYxvmFyK3ajY2z8GNx9wfO5u4KzLB5DZSja767K8B7GVEtEnovVo2DOMgtybP18x0qUoymM1hFe6010hkvvcpeZ+64VfKvDPQX8RLxq8AqoO0Ib2Bwm3biXqbo/5pwojPWVh3D2gjWvmacz2xSEZlMRpZ4J1D/kN9MkwIQMdcglA/0OSGJBb8L5vkF12XE897UUfu7crzE468Nz6WQFbA3dGSvAOwD74ZYI3LSenDiFqTlRto4Po+VSqHFqSuFnaV4oG95TRmrCpvMOAdA3MCjtvGiDwT7wXra2cUhuwLLcNYGkNOtnXnyyWZ+agplflTW8K40/Jeo5Icl6v4+Hmkoyhf662g==",
    msgSignature: "264de50cc7cab477ca1fe8e2fa93bf38288094a3",
    signature: "65c844a7f5f88b096e538756946980a61ffbaa56",
  },
  {
    name: "unauthorized",
    key: KEYS.MADE_UP,
    receiveId: "wxc000000000000001",
    timestamp: "1790000600",
    nonce: "1000000002",
    random: "f2f2f2f2f2f2f2f2",
    message:
      "<xml><AppId><![CDATA[wxc000000000000001]]></AppId><CreateTime>1790000600</CreateTime><InfoType><![CDATA[unauthorized]]></InfoType><AuthorizerAppid><![CDATA[wxa000000000000001]]></AuthorizerAppid></xml>",
    encrypted:
      "yIz7lcxGP1xnOTswXYrtxrceiQXTAKfvRuPCBHmbo9JaeBjQFWq9ZpR3PD690IesLKJhlqX7brUlxD4CEcws8G0tOEADx3LIUTkD+VP0xpsb5rzqYOgyPR55AtuRfuqPVDRxCV2febV4thMnA75rXThucP7yMompRKDfjU36RJLqFsFpJXj3Tb4CUyNHWJdk1MD3pO92lkDkk5dJKHp4V9QmcCjM6RPmxxX2liyV6pZ4BAk1k+ryvwcY81DNXCBsAu0xQqkXID8Fqv52m4xc/4YhB13YgVtJibQmtMyC4z1/nkx7s9tN7TSS0OfcimcsdjPVFgweSeEeCw8TelMHvw==",
    msgSignature: "79ed5cc3a3add622b8eb3b041d69e268bcc939fc",
  },
  {
    name: "suite_ticket, a blank before its CDATA section",
    key: KEYS.MADE_UP,
    receiveId: "ww5000000000000001",
    timestamp: "1790000000",
    nonce: "1000000003",
    random: "f3f3f3f3f3f3f3f3",
    message:
      "<xml><SuiteId><![CDATA[ww5000000000000001]]></SuiteId><InfoType> <![CDATA[suite_ticket]]></InfoType><TimeStamp>1790000000</TimeStamp><SuiteTicket><![CDATA[SUITETICKETFAKE0001]]></SuiteTicket></xml>",
    encrypted:
      "nhf+QccU/S1y0vTsck3tluvT8rJe1szf7ZlDQ83Wv3eAGK/5ZyfKyvwkkdnNoZlmiuRdvVgp05ZmN9zbPKtZrAXO+pmC8RBBVrd0Ab3i2CN+0TuJm2oQWj/WGC4EGgkPpjTT1bVGzjeGJZsJ6angFm4nX/XQsDKpi+rH6I+29fcyXEKrFoNkzCg3RcSOaqejDndeqEfOEcAHc8m+a9tNBD83SbuEZQSwv7QXKK8zwD1VYb3jdLy0MaS05e93hpLAPgES0RKhLgInPzxleoo8m8qFO7uNcUkclUuv8iRpKnB218JDmsfIrD0hQXLpaXKsuD6vNRd9qU3Jb6NnNRYU2Q==",
    msgSignature: "248eb0f4a7e84c9f2f7cccede54f146519cf3486",
  },
  {
    name: "reset_permanent_code",
    key: KEYS.MADE_UP,
    receiveId: "dk5000000000000001",
    timestamp: "1790000000",
    nonce: "1000000004",
    random: "f4f4f4f4f4f4f4f4",
    message:
      "<xml><SuiteId><![CDATA[dk5000000000000001]]></SuiteId><AuthCode><![CDATA[AUTHCODEFAKE0001]]></AuthCode><InfoType><![CDATA[reset_permanent_code]]></InfoType><TimeStamp>1790000000</TimeStamp></xml>",
    encrypted:
      "yJKQNqgVInvDf0LJWd2qayDtG8vTdPHTBYHEe1DY1sCjsG/lV8NejekqgpVpx8dmfSY9M7NASsyN8HLQ2atZ3YHk+lGgese6ZGbVpcdVqOV3I9TI/+2auNymToC3DzF9yLRmRtsAMYEswqa93+FIJhFqcLqEXGksOKHHIiFZpOEy5E+h79u6dKU/fb0VQRlPyI/6qR4nGCm/r7vNcBZyXSj86qtyloGpKXUNqgteGFKwKNSkn1CvAn4g59d865YDGxdl7HJW3FjmoBn74DBCCcuVD2cEMU++l/ZXjwNXRBfvHq+Bm/snBiEcp2+vAbGnuy++AFADgpOydGFpnYoIIA==",
    msgSignature: "431e8d75ad8acd33785f74bddb182a43af2f893d",
  },
  {
    name: "a GET check that names the provider",
    key: KEYS.MADE_UP,
    receiveId: "wwprovider00000001",
    timestamp: "1790000000",
    nonce: "1000000005",
    random: "f5f5f5f5f5f5f5f5",
    message: "1790000000123456789",
    encrypted: "QV8zCENQ2tIVDM70y3zbOocKotG32xX0Xa4+RTGyNl+3KnHtx94poEl1agM9EoXklNliMS+ht5SfSLFX1C+LZw==",
    msgSignature: "42b441f7903e218a9410effb2d6ba3048ea7b633",
  },
  {
    name: "a whole block of padding",
    key: KEYS.MADE_UP,
    receiveId: "wxa000000000000001",
    timestamp: "1790000000",
    nonce: "1000000006",
    random: "f6f6f6f6f6f6f6f6",
    message: "<xml><A>abcdefghijk</A></x",
    encrypted:
      "oeZuKFeQOEMu92u4SvSCZs1zWodsDrVSayRNGrK6qwh+Tsh6ZssoktIarcCOcYcfKRL64dQ8XZ5dvd2jIG01wV3JOxXMV5ZTeZ3ifo8DBuKm3FaiXOaGx8JEMMxf+ufX",
    msgSignature: "57790e5f6bf9ea4479ace69bc1cc6f7c2bb30e5e",
  },
  {
    name: "characters of several bytes, a split CDATA section",
    key: KEYS.MADE_UP,
    receiveId: "wxa000000000000001",
    timestamp: "1790000000",
    nonce: "1000000007",
    random: "f7f7f7f7f7f7f7f7",
    message:
      "<xml><ToUserName><![CDATA[gh_000000000001]]></ToUserName><FromUserName><![CDATA[oFAKE0000000000000000000001]]></FromUserName><CreateTime>1790000000</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[你好 👋 ]]]]><![CDATA[>]]></Content><MsgId>24000000000000001</MsgId></xml>",
    msgSignature: "ced4667643297c8e616240f9cf1690c32f8ecf40",
  },
  {
    name: "an answer of DingTalk's sample program",
    key: KEYS.DINGTALK,
    receiveId: "dingxxxxxx",
    timestamp: "1605695694141",
    nonce: "WelUQl6bCqcBa2fM",
    message: "success",
    encrypted: "X1VSe9cTJUMZu60d3kyLYTrBq5578ZRJtteU94wG0Q4Uk6E/wQYeJRIC0/UFW5Wkya1Ihz9oXAdLlyC9TRaqsQ==",
    msgSignature: "f36f4ba5337d426c7d4bca0dbcb06b3ddc1388fc",
  },
  {
    name: "an answer as DingTalk wants it",
    key: KEYS.MADE_UP,
    receiveId: "dingowner00000001",
    timestamp: "1790000000000",
    nonce: "dnonce01",
    random: "dadadadadadadada",
    message: "success",
    encrypted: "Pgtz/0jyyvTBUIakMcPCWXou5omANu6q8o6krLW5B7R6A6a126S4s7xr6PUBtPRGjMIca22E3Nn55tU/5LWmmg==",
    msgSignature: "35c3ca5e6d940f09d126fb0d5977c24b30b6d6f4",
  },
  {
    name: "an empty receiveId",
    key: KEYS.MADE_UP,
    receiveId: "",
    timestamp: "1790000000",
    nonce: "1000000008",
    random: "f8f8f8f8f8f8f8f8",
    message: "ok",
    encrypted: "IiZb4j/hSuEhUDA371+4/VAfDONXkA0kIgJSDIJptdg=",
    msgSignature: "8f2ea834bdab16abbdc123f0981d603c05ba8aec",
  },
];

/** The vector of that name. */
export function vector(name: string): PushVector {
  const found = VECTORS.find((each) => each.name === name);
  if (found === undefined) throw new Error(`no vector ${name}`);
  return found;
}
