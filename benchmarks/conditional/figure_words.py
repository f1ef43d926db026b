"""What is seen in the figures of conditional models: whoever draws them anew looks again."""

SEEN: dict[str, str] = {
    "quadrants": "",
    "styles": "",
    "plane": "",
    "traversals": "",
    "decoders": "",
    "nearest": "",
    "nearest_features": "",
    "pixels": "",
}
