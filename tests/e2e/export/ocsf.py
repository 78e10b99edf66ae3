"""The published schema of OCSF, as a judge of events: everything that a JSON Schema of it says, and what that cannot say."""

import json

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchema, get_ocsf_schema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

VERSION = "1.8.0"
# An attribute's caption beside its number, where the schema's table does not name it.
OTHER = 99


class Judge:
    """Finds what is wrong with an event."""

    def __init__(self):
        self.schema = get_ocsf_schema(version=VERSION)
        self.made = OcsfJsonSchema(self.schema)
        self.classes = {found["uid"]: found for found in self.schema["classes"].values()}
        self.registry = Registry(retrieve=self.retrieve)
        self.validators = {}

    def retrieve(self, uri):
        return Resource.from_contents(self.made.get_schema_from_uri(uri), default_specification=DRAFT202012)

    def validator(self, name, profiles):
        key = (name, tuple(profiles))
        if key not in self.validators:
            contents = self.made.get_class_schema(name, list(profiles))
            self.validators[key] = Draft202012Validator(contents, registry=self.registry)
        return self.validators[key]

    def faults(self, event):
        """All that is wrong, as text; nothing for a good event."""
        found = self.classes.get(event.get("class_uid"))
        if found is None:
            return [f"no class {event.get('class_uid')!r}"]
        metadata = event.get("metadata", {})
        profiles = metadata.get("profiles", [])
        wrong = [f"no profile {name} in the class" for name in profiles if name not in found["profiles"]]
        for error in self.validator(found["name"], profiles).iter_errors(event):
            wrong.append(f"{error.json_path}: {error.message[:300]}")
        if metadata.get("version") != VERSION:
            wrong.append(f"another version: {metadata.get('version')}")
        if event.get("type_uid") != event.get("class_uid", 0) * 100 + event.get("activity_id", 0):
            wrong.append("type_uid is not that of the class and the activity")
        if event.get("category_uid") != event.get("class_uid", 0) // 1000:
            wrong.append("category_uid is not that of the class")
        return wrong + list(self.captions(event, found["attributes"], "$", profiles))

    def captions(self, value, attributes, path, profiles):
        """What the numbers of enumerations say must stand beside them, and nothing may be deprecated."""
        for name, inner in value.items():
            attribute = attributes.get(name)
            if attribute is None:
                continue
            if "@deprecated" in attribute:
                yield f"{path}.{name}: deprecated"
            enumeration, sibling = attribute.get("enum"), attribute.get("sibling")
            if enumeration and sibling:
                word = value.get(sibling)
                wanted = enumeration.get(str(inner), {}).get("caption")
                is_free = inner == OTHER and not name.endswith("_uid")
                if not isinstance(word, str) or (word == "" and not is_free) or not is_free and word != wanted:
                    yield f"{path}.{sibling}: {word!r} beside {inner}, not {wanted!r}"
            if attribute.get("type") == "object_t":
                known = self.schema["objects"][attribute["object_type"]]["attributes"]
                for each in inner if isinstance(inner, list) else [inner]:
                    yield from self.captions(each, known, f"{path}.{name}", profiles)


def spoiled(event):
    """The event with one thing wrong each: the judge must see all of them."""
    def change(what, *path, to=None):
        copy = json.loads(json.dumps(event))
        place = copy
        for name in path[:-1]:
            place = place[name]
        if to is None:
            place.pop(path[-1])
        else:
            place[path[-1]] = to
        return what, copy

    yield change("a required attribute is missing", "metadata", "product")
    yield change("a required attribute of all is missing", "severity_id")
    yield change("a number is text", "time", to="2026")
    yield change("a number is in no enumeration", "severity_id", to=7)
    yield change("a caption is of another number", "severity", to="Fatal")
    yield change("an attribute is of no class", "mantlet", to=1)
    yield change("an attribute is of no object", "metadata", "mantlet", to=1)
    yield change("an object has none of what it must have one of", "metadata", "product", to={"version": "1"})
    yield change("the type is of another activity", "type_uid", to=event["type_uid"] + 1)
    yield change("a profile is of other classes", "metadata", "profiles", to=["load_balancer_of_mine"])
    yield change("it is of another version", "metadata", "version", to="1.0.0")
    if event["metadata"].get("profiles"):
        yield change("the profile of an attribute is not named", "metadata", "profiles", to=[])
