"""`finetune-studio` whose first run trains the tiny model: the whole way of a newcomer within seconds."""

from tabs import start
from tabs._main import main

if __name__ == "__main__":
    start.FIRST_RUN["model"] = "tiny"
    start.FIRST_RUN["training"] |= {"max_steps": 4, "eval_rows": 4, "answer_rows": 2, "max_new_tokens": 8}
    main()
