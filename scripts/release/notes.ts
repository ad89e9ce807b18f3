/**
 * What a version brings, as its section of CHANGELOG.md has it.
 *
 * @throws {Error} where the changelog has no such section.
 */
export function releaseNotes(changelog: string, version: string): string {
  const sections = changelog.split(/^(?=## \[)/m);
  const section = sections.find((each) => each.startsWith(`## [${version}]`));
  if (section === undefined) throw new Error(`CHANGELOG.md has no section [${version}]: write one`);
  return section.split("\n").slice(1).join("\n").trim();
}
