const MOST = 1000;
const LONGEST = 256;

/**
 * `decide`, with its answers kept: callers come from few addresses under few names, and ask often.
 *
 * The answer must depend on the text alone. At most a thousand short texts are kept; then it begins anew.
 */
export function remembered<T>(decide: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>();
  return (text) => {
    const before = known.get(text);
    if (before !== undefined) return before;
    const answer = decide(text);
    if (known.size >= MOST) known.clear();
    if (text.length <= LONGEST) known.set(text, answer);
    return answer;
  };
}
