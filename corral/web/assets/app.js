// The console's one script. htmx follows the server; the modules below do what only a browser can.
import "htmx.org";
import "./console/board.js";
import "./console/bus.js";
import "./console/copy.js";
import "./console/dialogs.js";
import "./console/drafts.js";
import "./console/failures.js";
import "./console/forms.js";
import "./console/fragment.js";
import "./console/keys.js";
import "./console/live.js";
import "./console/new-run.js";
import "./console/prose.js";
import "./console/references.js";
import "./console/run.js";
import "./console/theme.js";
import "./console/times.js";
