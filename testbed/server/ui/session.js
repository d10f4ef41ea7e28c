/**
 * The page's key. The cookie alone opens nothing, for browsers send it to every server of this machine, whatever its
 * port; what is stored for an origin, no other origin can read. `/ui/enter` puts it there.
 */

export function pageKey() {
  try {
    return localStorage.getItem("testbed-key") ?? "";
  } catch {
    return "";
  }
}
