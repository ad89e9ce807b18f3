/** Files imported `with { type: "file" }`: the path under which the program finds them, also inside the binary. */
declare module "swagger-ui-dist/swagger-ui-bundle.js" {
  const path: string;
  export default path;
}
declare module "swagger-ui-dist/swagger-ui.css" {
  const path: string;
  export default path;
}
declare module "*swagger-page.js" {
  const path: string;
  export default path;
}
