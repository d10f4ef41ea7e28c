/**
 * What must be there before anything else: light or dark, as the system says until a person chooses, so that nothing
 * flashes; and another try where a part of the page did not arrive, for browsers drop requests whenever an address of
 * this machine changes, and each container that starts changes one.
 */
"use strict";
{
  const KEY = "testbed-theme", TRIES = "testbed-tries";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
  const shown = () => root.dataset.theme ?? (system.matches ? "dark" : "light");

  if (stored() === "light" || stored() === "dark") root.dataset.theme = stored();

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const tell = () => button.setAttribute("aria-pressed", String(shown() === "dark"));
    button.addEventListener("click", () => {
      root.dataset.theme = shown() === "dark" ? "light" : "dark";
      try { localStorage.setItem(KEY, root.dataset.theme); } catch { /* not kept: this page only */ }
      tell();
    });
    system.addEventListener("change", tell);
    tell();
  });

  let isWhole = true;
  const again = () => fetch(location.href, {cache: "no-store"})
    .then(() => location.reload(), () => setTimeout(again, 1000));
  addEventListener("error", ({target}) => {
    if (!isWhole || !(target instanceof HTMLScriptElement || target instanceof HTMLLinkElement)) return;
    isWhole = false;
    const tries = Number(sessionStorage.getItem(TRIES) ?? 0);
    sessionStorage.setItem(TRIES, tries + 1);
    setTimeout(again, Math.min(300 * 2 ** tries, 30_000));
  }, true);
  addEventListener("load", () => isWhole && sessionStorage.removeItem(TRIES));
}
