const name = "bankforge.token";

/**
 * The token comes from the form, or from the fragment of the page's address (which no server gets to see), and is
 * removed from there at once. It is kept for this tab only.
 */
export function takeToken(): string {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const given = fragment.get("token");
  if (given !== null) {
    history.replaceState(null, "", location.pathname + location.search);
    keep(given);
  }
  return sessionStorage.getItem(name) ?? "";
}

export function keep(token: string): void {
  sessionStorage.setItem(name, token.trim());
}

export function forget(): void {
  sessionStorage.removeItem(name);
}
