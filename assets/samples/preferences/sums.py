"""Small sums of everyday life with their right answer, and the mistake that people make."""

from __future__ import annotations

from collections.abc import Callable

from assets.samples.shared.grammar import Grammar

Answer = tuple[str, str, str, str]  # prompt, right, wrong, what it is about

PEOPLE = ["Ana", "Bilal", "Chloe", "Deniz", "Emil", "Farida", "Goran", "Hanna", "Ines", "Jonas"]
GOODS = ["a jacket", "a coffee grinder", "a train pass", "a guitar", "a rug", "a tennis racket", "a radio", "a kayak"]
DISHES = {
    "pancakes": "flour", "lentil soup": "lentils", "potato salad": "potatoes", "apple crumble": "apples",
    "risotto": "rice", "minestrone": "beans", "couscous salad": "couscous", "cheese fondue": "cheese",
}  # fmt: skip


def discount(grammar: Grammar) -> Answer:
    rng = grammar.rng
    price, share = rng.randrange(40, 400, 20), rng.choice([10, 15, 20, 25, 30, 40])
    goods, off = grammar.deal("goods", GOODS), price * share // 100
    if rng.random() < 0.5:
        ask = f"What do I pay for {goods} of {price} euros with {share}% off?"
    else:
        ask = f"{goods[0].upper()}{goods[1:]} of {price} euros is reduced by {share} per cent. What is the price now?"
    right = f"{share}% of {price} euros is {off} euros, so you pay {price} - {off} = {price - off} euros."
    return ask, right, f"You take {share} from {price}, so it is {price - share} euros.", "discounts"


def average(grammar: Grammar) -> Answer:
    rng = grammar.rng
    marks = [rng.randint(4, 20) for _ in range(3)]
    marks.append(4 * rng.randint(8, 20) - sum(marks))
    listed = f"{', '.join(map(str, marks[:3]))} and {marks[3]}"
    ask = rng.choice([f"What is the mean of {listed}?", f"Four days, {listed} visitors. How many a day on average?"])
    right = f"Add them up and divide by four: {listed} make {sum(marks)}, and {sum(marks)} / 4 = {sum(marks) // 4}."
    return ask, right, f"The mean is the biggest minus the smallest, so {max(marks) - min(marks)}.", "averages"


def trip(grammar: Grammar) -> Answer:
    rng = grammar.rng
    speed, hours = rng.choice([12, 15, 18, 60, 80, 90, 100]), rng.randint(2, 6)
    name = grammar.deal("people", PEOPLE)
    ride = "cycles" if speed < 30 else "drives"
    ask = f"{name} {ride} {speed * hours} km at {speed} km/h. How long does that take?"
    right = f"Time is distance divided by speed: {speed * hours} km / {speed} km/h = {hours} hours, breaks not counted."
    return ask, right, f"Multiply both and {name} arrives after {hours + 3} hours.", "journeys"


def minutes(grammar: Grammar) -> Answer:
    rng = grammar.rng
    begin, length = rng.randrange(8 * 60, 20 * 60, 5), rng.randrange(65, 200, 5)
    end, what = begin + length, rng.choice(["film", "concert", "lecture", "train ride", "match"])
    ask = f"A {what} starts at {begin // 60}:{begin % 60:02} and lasts {length} minutes. When does it end?"
    hours, rest = divmod(length, 60)
    right = (
        f"{length} minutes are {hours} h {rest} min. Counted from {begin // 60}:{begin % 60:02}, "
        f"it ends at {end // 60}:{end % 60:02}."
    )
    return ask, right, f"It ends at {(end + 40) // 60}:{(end + 40) % 60:02}, as an hour has 100 parts.", "clock times"


def recipe(grammar: Grammar) -> Answer:
    rng = grammar.rng
    few, each = rng.choice([2, 3, 4]), rng.randrange(30, 130, 10)
    many, dish = few + rng.randint(2, 9), grammar.deal("dishes", list(DISHES))
    ask = f"My recipe for {dish} takes {few * each} g of {DISHES[dish]} for {few} people. How much for {many}?"
    right = f"Per person it is {few * each} g / {few} = {each} g, and {many} people need {many} x {each} g = "
    right += f"{many * each} g."
    return ask, right, f"Add one gram for each guest: {few * each + many - few} g.", "recipes"


def rent(grammar: Grammar) -> Answer:
    rng = grammar.rng
    heads, share = rng.randint(3, 6), rng.randrange(210, 560, 10)
    names = [grammar.deal("people", PEOPLE) for _ in range(2)]
    more = "one friend" if heads == 3 else f"{heads - 2} friends"
    ask = f"{names[0]}, {names[1]} and {more} share a flat for {heads * share} euros a month. What does each pay?"
    right = f"That is {heads} people. Split evenly, each pays {heads * share} / {heads} = {share} euros a month."
    return ask, right, f"Each pays about {share + 55} euros, as you divide by {heads - 1}.", "rents"


def area(grammar: Grammar) -> Answer:
    rng = grammar.rng
    width, length = rng.randint(2, 9), rng.randint(4, 14)
    room = rng.choice(["room", "terrace", "lawn", "hall", "vegetable bed"])
    ask = f"How many square metres has a {room} of {width} m by {length} m?"
    right = f"Multiply both sides: {width} m x {length} m = {width * length} square metres."
    return ask, right, f"Add up the sides: {2 * (width + length)} square metres.", "areas"


def savings(grammar: Grammar) -> Answer:
    rng = grammar.rng
    month, months = rng.randrange(15, 120, 5), rng.randint(4, 20)
    goods, name = grammar.deal("goods", GOODS), grammar.deal("people", PEOPLE)
    ask = f"{name} puts {month} euros aside each month. When is there enough for {goods} of {month * months} euros?"
    right = (
        f"Divide the price by what is saved a month: {month * months} / {month} = {months}, so after {months} months."
    )
    return ask, right, f"Never, since {goods} costs more than {month} euros.", "saving"


SUMS: list[Callable[[Grammar], Answer]] = [discount, average, trip, minutes, recipe, rent, area, savings]
