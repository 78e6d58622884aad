// How durations and amounts read; the server's templates say them the same way (console/words.py).
export function ago(ms) {
  const seconds = Math.max(0, ms / 1000);
  if (seconds < 5) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

export function until(ms) {
  return ms <= 0 ? "no time" : duration(ms);
}

export function duration(ms) {
  const seconds = Math.max(0, ms / 1000);
  if (seconds < 1) return `${Math.round(ms)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${String(Math.floor((seconds % 3600) / 60)).padStart(2, "0")} m`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

export function count(number) {
  return number.toLocaleString("en-US").replaceAll(",", "\u2009");
}

export function money(usd) {
  return `$${usd.toLocaleString("en-US", { minimumFractionDigits: 3, maximumFractionDigits: 3 })}`;
}

export function compact(number) {
  if (number >= 1e9) return `${Number((number / 1e9).toFixed(1))}G`;
  if (number >= 1e6) return `${Number((number / 1e6).toFixed(1))}M`;
  if (number >= 1e4) return `${Number((number / 1e3).toFixed(1))}k`;
  return Number(number.toFixed(2)).toLocaleString("en-US").replaceAll(",", "\u2009");
}
