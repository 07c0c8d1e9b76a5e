"""A text of our own that every model is asked with, and scored on, where no prompts are chosen.

It was written for this purpose, so that no model has learnt it by heart.
"""

from __future__ import annotations

PARAGRAPHS = (
    "The ferry to the outer island leaves at twenty past seven, or whenever the mail van has come, which is seldom "
    "the same. Passengers who know this bring a book. The captain does not announce the delay, because there is "
    "nothing to announce: the tide decides when the channel is deep enough, and the van decides the rest. In winter "
    "the trip takes forty minutes. In summer it takes longer, since half of the people on board want to see the "
    "seals.",
    "A kitchen scale measures weight with a small metal beam that bends when something is put on it. Thin wires glued "
    "to the beam are stretched as it bends, and a stretched wire resists electricity a little more. The scale "
    "compares this resistance with the one it remembers for an empty plate. That is why it must be switched on before "
    "the bowl is placed there, and why a scale that was moved while it was on shows nonsense until it is reset.",
    "When Marta took over the bakery, she changed only three things. She bought a second clock, so that the ovens and "
    "the shop no longer argued about the time. She wrote the orders for the next day on one sheet instead of many. "
    "And she stopped baking the large rye loaf on Mondays, after counting for six weeks how many were left on the "
    "shelf in the evening. Customers asked about the clock; nobody asked about the loaf.",
    "To repair the pump, close the valve behind the filter first and wait until the needle of the gauge stands still. "
    "Then loosen the four bolts in turn, each by half a turn, until the cover comes off by itself. Do not use a "
    "screwdriver to lift it. Look at the rubber ring: if it is flat on one side, replace it, even where it still "
    "seems to seal. Put the cover back, tighten the bolts crosswise, and open the valve slowly.",
    "The council met on a Thursday to decide where the new bridge should stand. The engineers preferred the narrow "
    "place above the mill, where the rock comes close to the surface and the spans could be short. The farmers wanted "
    "it further down, near the road to the market. In the end they asked what each bridge would cost in thirty years, "
    "repairs included, and the narrow place won by so much that even those who lost were relieved.",
    "Owls hear with ears that are not at the same height. A sound from below reaches the lower ear a little earlier "
    "and a little louder, and from this difference the bird knows the angle without turning its head. The feathers "
    "around its face gather the sound as a dish would. A mouse under the snow can be found that way at a distance of "
    "fifty metres, which is further than most people would notice it on a table.",
)
TEXT = "\n\n".join(PARAGRAPHS)
