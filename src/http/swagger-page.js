/*
 * Starts the documentation's page, in the language of its query. What the document can't say is done to each request: a
 * path with slashes is sent as such, a code of the sandbox is a new one, since each works once, and an access token of the
 * examples is a current one of the demo's apps.
 */
const TOKENS = {
  "70_exampleToken": "/AccessToken/getXcx?appid=wx0000000000000001",
  exampleTokenOfWecom: "/AccessToken/getQyapi?corpid=ww0000000000000001&agentid=1000002",
};

SwaggerUIBundle({
  url: "/swagger/json" + location.search,
  dom_id: "#swagger-ui",
  validatorUrl: null,
  requestInterceptor,
});

async function requestInterceptor(request) {
  const code = `sandbox-code-${Date.now()}`;
  request.url = request.url
    .replace("sandbox-code-1", code)
    .replace(/(\/gateway\/[^/?]+\/)([^?]*)/, (_, app, path) => app + decodeURIComponent(path));
  if (typeof request.body === "string") request.body = request.body.replace("sandbox-code-1", code);
  for (const [example, path] of Object.entries(TOKENS)) {
    if (!request.url.includes("/cgi-bin/") || !request.url.includes(`access_token=${example}`)) continue;
    const answer = await fetch(path, { headers: request.headers });
    const { access_token: token } = (await answer.json()).data;
    if (token) request.url = request.url.replace(example, token);
  }
  return request;
}
