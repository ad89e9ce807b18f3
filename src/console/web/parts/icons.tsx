const PATHS = {
  alert: "M8 2.2 14.2 13H1.8L8 2.2ZM8 6.4v3M8 11.2v.1",
  back: "M9.5 3.5 5 8l4.5 4.5",
  ban: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM3.8 3.8l8.4 8.4",
  check: "m3 8.6 3.3 3.2L13 4.6",
  circle: "M8 13A5 5 0 1 0 8 3a5 5 0 0 0 0 10Z",
  clock: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 4.8V8l2.2 1.6",
  close: "m4 4 8 8M12 4l-8 8",
  copy: "M5.5 5.5h7.8v7.8H5.5zM10.4 5.3V2.7H2.7v7.7h2.6",
  down: "M3.8 6 8 10.2 12.2 6",
  download: "M8 2.5v7.4M4.8 7 8 10.2 11.2 7M3 13.3h10",
  info: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 7.4v3.4M8 5.1v.1",
  key: "M5.2 13.2a2.7 2.7 0 1 0 0-5.4 2.7 2.7 0 0 0 0 5.4ZM7.2 8.6l6-6M10.6 5.2l2 2",
  more: "M3.2 8h.1M8 8h.1M12.8 8h.1",
  next: "M6.5 3.5 11 8l-4.5 4.5",
  open: "M6.3 3H3v10h10V9.7M9.3 2.7h4v4M13 3 7.5 8.5",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  plus: "M8 3v10M3 8h10",
  refresh: "M13.2 8a5.2 5.2 0 1 1-1.6-3.7M13.2 2.4v3h-3",
  search: "M7 11.6A4.6 4.6 0 1 0 7 2.4a4.6 4.6 0 0 0 0 9.2ZM10.4 10.4l3.4 3.4",
  sort: "M5 6.2 8 3l3 3.2M5 9.8 8 13l3-3.2",
  trash: "M2.8 4.3h10.4M6 4.2V2.6h4v1.6M4.2 4.5l.6 9h6.4l.6-9",
  up: "M3.8 10 8 5.8 12.2 10",
  user: "M8 8.2a2.9 2.9 0 1 0 0-5.8 2.9 2.9 0 0 0 0 5.8ZM2.8 13.8c.4-2.6 2.5-4 5.2-4s4.8 1.4 5.2 4",
} as const;

/** The name of a drawing of ours. */
export type IconName = keyof typeof PATHS;

/** A drawing of 16 px in the colour of the text. It says nothing to a screen reader: a word stands beside it. */
export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
