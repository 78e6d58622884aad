// The console's one script. htmx comes first: its extensions register on the global it makes.
import "htmx.org";
import "htmx.org/dist/ext/hx-sse.js";
