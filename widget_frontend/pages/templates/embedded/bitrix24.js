// What a page asks of the portal around it (bitrix24.md 8.3). Outside a portal the library is not there and nothing is asked.
const portal = {
  ready(action) { if (window.BX24) { BX24.init(action); } },
  finishInstall() { BX24.installFinish(); },
  fit() { BX24.fitWindow(); },
};
portal.ready(() => portal.fit());
