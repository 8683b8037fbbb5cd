// JSON text from outside, parsed without exceptions.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string_view>

#include "base/error.h"

namespace doppel::vm {

/// A whole JSON value, its members in the order written. The error says where it stops making sense.
Result<nlohmann::ordered_json> parse_json(std::string_view text);

}  // namespace doppel::vm
