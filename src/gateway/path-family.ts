/** Where all that is called has the same first segment, it alone is the family. */
const BY_FIRST = new Set(
  "wxa wxaapi wxaop datacube customservice card semantic cv device shakearound bizwifi shop product tcb xpay channels merchant scan hardware wxopen publisher nontax intp sns".split(
    " ",
  ),
);

/** What comes behind `/cgi-bin/`, of WeChat and of WeCom. */
const BELOW_CGI_BIN = new Set(
  (
    "account agent appchat auth batch business callback checkin clear_quota comment corp corpgroup customservice " +
    "department device dial draft express externalcontact externalpay freepublish get_api_domain_ip " +
    "get_current_selfmenu_info getcallbackip guide health hr idconvert invoice kf linkedcorp living material media " +
    "meeting menu message miniapppay oa openapi openuserid_to_userid poi qrcode school security shorturl shorten soter " +
    "tag tags template ticket user wedoc wedrive wxaapp wxopen"
  ).split(" "),
);

/**
 * The family of a path, for counts and metrics: its first segments where they are known ones, else `other`. There are
 * less than a hundred, whatever callers send.
 */
export function pathFamily(path: string): string {
  const [, first = "", second = ""] = path.split("/");
  if (first === "cgi-bin") return BELOW_CGI_BIN.has(second) ? `/cgi-bin/${second}` : "/cgi-bin";
  return BY_FIRST.has(first) ? `/${first}` : "other";
}

/** Whether a path's first segment is one of WeChat's or WeCom's. */
export function isPlatformPath(path: string): boolean {
  const first = path.split("/", 2)[1] ?? "";
  return first === "cgi-bin" || BY_FIRST.has(first);
}
