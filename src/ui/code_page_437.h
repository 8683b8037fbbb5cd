// Code page 437: the characters that a PC's display adapter draws unless it is given another font.
#pragma once

#include <cstdint>

namespace doppel::ui {

/// The Unicode character that looks like CODE, one of the 256; a blank for 0 and 255, '?' for what is in no code page.
char32_t code_page_437(std::uint16_t code);

}  // namespace doppel::ui
