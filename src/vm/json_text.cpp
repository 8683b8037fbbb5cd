#include "vm/json_text.h"

#include <nlohmann/json.hpp>

namespace doppel::vm {

Result<nlohmann::ordered_json> parse_json(std::string_view text) {
  try {
    return nlohmann::ordered_json::parse(text);
  } catch (const nlohmann::ordered_json::parse_error& error) {
    if (error.byte > text.size()) return fail(ErrorKind::kInvalidArgument, "this is not valid JSON: it ends too early");
    return fail(ErrorKind::kInvalidArgument, "this is not valid JSON: character {} of {} is not expected there",
                error.byte, text.size());
  } catch (const nlohmann::ordered_json::exception&) {
    return fail(ErrorKind::kInvalidArgument, "this is not valid JSON: a number in it is too large");
  }
}

}  // namespace doppel::vm
