# frozen_string_literal: true

require_relative "precompiled"

module Transfer
  module Onnx
    class Tokenizer
      # Normalizers of tokenizer.json: each a function from text to text.
      module Normalizer
        UNICODE = { "NFC" => :nfc, "NFD" => :nfd, "NFKC" => :nfkc, "NFKD" => :nfkd }.freeze
        # The categories of characters are those of the versions of Unicode that tokenizers uses: 8 and 9. Characters that
        # BERT's normalizer removes; its accents; and those of the normalizer StripAccents.
        CONTROL = /[\u0000\ufffd]|(?![\t\n\r])[[\p{Cc}\p{Cf}\p{Co}]&&\p{Age=8.0}]/
        ACCENT = /(?![\u1885\u1886\ua9bd\u{111c9}])[[\p{Mn}&&\p{Age=8.0}]\u1734]/
        MARK = /(?!\u{111c9})[[\p{M}&&\p{Age=9.0}]\u1cf2\u1cf3]/
        SPACE = /[[:space:]]/
        # Blocks of CJK ideographs.
        IDEOGRAPH = /[\u4E00-\u9FFF\u3400-\u4DBF\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B920}-\u{2CEAF}\uF900-\uFAFF\u{2F800}-\u{2FA1F}]/
        # As sentencepiece's rules for machine translation.
        REMOVED = /[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]/
        BLANK = /[\u0009\u000a\u000c\u000d\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/
        private_constant :UNICODE, :CONTROL, :ACCENT, :MARK, :SPACE, :IDEOGRAPH, :REMOVED, :BLANK

        class << self
          # @param json [Hash, nil]
          # @return [#call]
          # @raise [Unsupported]
          def build(json)
            return ->(text) { text } if json.nil?

            kind = json["type"]
            case kind
            when "Sequence"
              steps = Array(json["normalizers"]).map { |step| build(step) }
              ->(text) { steps.inject(text) { |all, step| step.call(all) } }
            when "BertNormalizer" then ->(text) { bert(json, text) }
            when *UNICODE.keys then ->(text) { text.unicode_normalize(UNICODE.fetch(kind)) }
            when "Lowercase" then :downcase.to_proc
            when "StripAccents" then ->(text) { text.gsub(MARK, "") }
            when "Strip" then ->(text) { strip(text, json) }
            when "Prepend" then ->(text) { text.empty? ? text : "#{json['prepend']}#{text}" }
            when "Replace" then replacing(json)
            when "Nmt" then ->(text) { text.gsub(REMOVED, "").gsub(BLANK, " ") }
            when "Precompiled" then Precompiled.new(json["precompiled_charsmap"]).method(:call)
            else raise Unsupported, "its normalizer #{kind}"
            end
          end

          private

          def bert(json, text)
            text = text.gsub(CONTROL, "").gsub(SPACE, " ") if json["clean_text"]
            text = text.gsub(IDEOGRAPH) { |character| " #{character} " } if json["handle_chinese_chars"]
            strips = json["strip_accents"].nil? ? json["lowercase"] : json["strip_accents"]
            text = text.unicode_normalize(:nfd).gsub(ACCENT, "") if strips
            json["lowercase"] ? text.downcase : text
          end

          def strip(text, json)
            text = text.sub(/\A[[:space:]]+/, "") if json["strip_left"]
            json["strip_right"] ? text.sub(/[[:space:]]+\z/, "") : text
          end

          def replacing(json)
            pattern = Pattern.of(json["pattern"])
            ->(text) { text.gsub(pattern) { json["content"].to_s } }
          end
        end
      end
    end
  end
end
