// What pages ask the server for: waits where it says so, and repeats the server's own words where it refuses.

/** The answer of an address; throws an Error with the server's reason where it has no good one. */
export async function fetched(address) {
  const answer = await fetch(address);
  if (answer.status === 429) {  // many at once: wait as long as the server says
    await new Promise((go) => setTimeout(go, 1000 * Number(answer.headers.get("retry-after") ?? 1)));
    return fetched(address);
  }
  if (!answer.ok) {
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    throw new Error(page.querySelector("main .said b")?.textContent.trim() || `${answer.status}`);
  }
  return answer;
}

/** Say on the page that something could not be loaded. */
export function trouble(error) {
  const korean = document.documentElement.lang === "ko";
  const place = document.getElementById("trouble");
  place.textContent = korean ? `불러오지 못했습니다. ${error.message}` : `It could not be loaded. ${error.message}`;
  place.hidden = false;
}
