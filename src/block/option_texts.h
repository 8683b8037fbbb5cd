// Option names and values as the user wrote them.
#pragma once

#include <functional>
#include <map>
#include <string>

namespace doppel::block {

using OptionTexts = std::map<std::string, std::string, std::less<>>;

}  // namespace doppel::block
