"""`finetune-studio` whose first run is a short one: all that a newcomer meets, in a third of the time."""

from tabs import start
from tabs._main import main

if __name__ == "__main__":
    start.FIRST_RUN["training"] |= {"max_steps": 9, "eval_steps": 9, "eval_rows": 8, "answer_rows": 4}
    main()
