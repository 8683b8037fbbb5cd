// VmConfig as JSON: for `-dump-config`, for tests, and for front doors that speak JSON.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "vm/config.h"

namespace doppel::vm {

/// All of CONFIG, defaults too, indented, in the order of its members. Key-value lists become objects; of a repeated
/// key only the last value, which is the one that counts.
std::string to_json(const VmConfig& config);

/// What TEXT leaves out keeps its default. Unknown keys and wrong types are errors that name the place, such as
/// "chardevs[1].port: expected a string, not 23".
Result<VmConfig> config_from_json(std::string_view text);

}  // namespace doppel::vm
