import manifest from "../package.json" with { type: "json" };

/** The product's name. */
export const NAME: string = manifest.name;
/** The version of this build, from package.json. */
export const VERSION: string = manifest.version;
