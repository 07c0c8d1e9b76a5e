"""Gradio's own page, quicker to build and to use: its slowest parts are replaced as its scripts are served.

A page of a thousand components is searched from its root for each target of each handler, when it opens and whenever a
handler is called. What is replaced finds the same: in a map, or not at all where nothing is made of what is found.
Whenever a handler begins or ends, all that any handler ever wrote to is told whether it waits: now only whoever waits
since then, or no longer. Of what a handler reads, all that is known of it was copied: now its value.
On the server a page is described by the signatures of its components' constructors, which are worked out once.
Beside that, the language that somebody chose is asked for in the same way.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import gradio
from fastapi import APIRouter
from fastapi.responses import Response
from gradio.blocks import Block

# Which events of a component somebody listens to: a million looks through the targets of all handlers.
LOOP = (
    "let n=t.filter(t=>t.targets.find(([t])=>t===e.id))"
    ".map(t=>{let n=t.targets.find(([t])=>t===e.id);return n?n[1]:null}).filter(Boolean);"
)
LOOKED_UP = (
    "if(this.handlersOf!==t){this.handlersOf=t;this.heard=new Map;for(let{targets:n}of t)"
    "for(let[t,r]of new Map([...n].reverse()))r&&this.heard.set(t,[...this.heard.get(t)??[],r])}"
    "let n=this.heard.get(e.id)??[];"
)
# The node of a component: all nodes before it are looked at, for each of a thousand that learn that a handler runs.
SEARCH = (
    "function Z(e,t){if(e.id===t)return e;"
    "if(e.children)for(let n of e.children){let e=Z(n,t);if(e)return e}return null}"
)
# The way to each node, which still leads to it or is looked for anew.
FOUND = (
    "function Z(e,t){let n=(Z.ways??=new WeakMap).get(e)?.get(t);"
    "if(n){let r=e;for(let e of n)r=r?.children?.[e];if(r?.id===t)return r}"
    "let r=new Map,i=null,a=(e,n)=>{r.has(e.id)||r.set(e.id,n),e.id===t&&(i??=e);let o=0;"
    "for(let t of e.children??[])a(t,[...n,o++])};return a(e,[]),Z.ways.set(e,r),i}"
)
# What waits: each component is told what it was told before, which looks through all that lie around it.
TOLD = (
    "async update_loading_stati_state(){await Promise.all(Object.entries(this.loading_stati.current)"
    ".map(([e,t])=>this.update_state_cb(Number(e),{loading_status:t},!1)))}"
)
# Those of whom something else is known than they were told.
NEWS = (
    "async update_loading_stati_state(){let n=this.told??=new Map;"
    "await Promise.all(Object.entries(this.loading_stati.current)"
    ".filter(([e,t])=>{let r=n.get(e);n.set(e,t);"
    "return!r||Object.keys({...r,...t}).some(e=>(r[e]??null)!==(t[e]??null))})"
    ".map(([e,t])=>this.update_state_cb(Number(e),{loading_status:t},!1)))}"
)
CHANGES = {  # script → what it holds, what is put there
    "core-*.js": {
        LOOP: LOOKED_UP,
        SEARCH: FOUND,
        # The state of a component that is shown is its own to tell, or its value alone.
        "async get_state(e){let t=this.#s.get(e),n=Z(this.root,e);return!t&&!n?null:t?await t():": (
            "async get_state(e,r){let t=this.#s.get(e),n=t?null:Z(this.root,e);return!t&&!n?null:t?await t(r):"
        ),
    },
    # A language that was chosen on the page counts before the browser's (assets/language.js).
    "runtime-*.js": {
        "null:window.navigator.language||": (
            "null:(()=>{try{return localStorage.getItem('finetune-studio-language')}catch{}})()"
            "||window.navigator.language||"
        )
    },
    "Blocks-*.js": {
        # Where there is nothing to set, no state need be known.
        "async set_event_args(e,t){let n={},": (
            "async set_event_args(e,t){if(!Object.keys(t).length)return()=>{};let n={},"
        ),
        TOLD: NEWS,
        "register_loading_stati(e){for(": "register_loading_stati(e){this.told=new Map;for(",
        # Handlers are given values, but for the few that ask for components.
        "gather_state(e,t=[]){return(await Promise.all(e.map(e=>this.get_state_cb(e))))": (
            "gather_state(e,t=[]){return(await Promise.all(e.map((e,n)=>this.get_state_cb(e,!t.includes(n)))))"
        ),
    },
    "src-*.js": {
        "async get_data(){return c(this.props)}": (
            "async get_data(e){return e?{value:c(this.props.value)}:c(this.props)}"
        ),
    },
    "statustracker-*.js": {
        # The clock of what waits ends with it, not never: that of the page's own start ran on, at each frame.
        "F(Pe,(performance.now()-w(de))/1e3),W&&ze()": "F(Pe,(performance.now()-w(de))/1e3),U?.isConnected&&W&&ze()",
        "h=this.fn_inputs[t];return p.concat(h)": "h=this.fn_inputs[t],P=new Set(p),H=new Set(h);return p.concat(h)",
        "let _=h.includes(e)&&s?`input`:p.includes(e)?`output`:`skip`;": (
            "let _=s&&H.has(e)?`input`:P.has(e)?`output`:`skip`;"
        ),
    },
}


def router() -> APIRouter:
    """Serves the scripts with these changes, in place of Gradio; a Gradio that is made otherwise is left alone."""
    routes = APIRouter()
    for pattern, changes in CHANGES.items():
        for path in (Path(gradio.__file__).parent / "templates/frontend/assets").glob(pattern):
            script = path.read_text(encoding="utf-8")
            if all(slow in script for slow in changes):
                for slow, quick in changes.items():
                    script = script.replace(slow, quick)
                routes.add_api_route(f"/assets/{path.name}", _sending(script))
    return routes


def know_signatures() -> None:
    """Let each component's constructor know its own signature.

    Python works it out anew whenever it is asked for, and Gradio asks twelve thousand times while it builds this page.
    """
    classes = [Block]
    for cls in classes:
        classes += cls.__subclasses__()
        init = vars(cls).get("__init__")
        while init is not None and "__signature__" not in vars(init):
            init.__signature__ = inspect.signature(init)
            init = getattr(init, "__wrapped__", None)


def _sending(script: str) -> Callable[[], Response]:
    return lambda: Response(script, media_type="text/javascript")


know_signatures()  # here: whatever builds a page has imported this
