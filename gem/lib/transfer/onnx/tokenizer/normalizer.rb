# frozen_string_literal: true

require_relative "precompiled"

module Transfer
  module Onnx
    class Tokenizer
      # Normalizers of tokenizer.json: each a function from text to text.
      module Normalizer
        # The categories of characters are those of the versions of Unicode that tokenizers has: 8 and 9. Characters
        # that BERT's normalizer removes; its accents; and those of the normalizer StripAccents.
        CONTROL = /[\u0000\ufffd]|(?![\t\n\r])[[\p{Cc}\p{Cf}\p{Co}]&&\p{Age=8.0}]/
        ACCENT = /(?![\u1885\u1886\ua9bd\u{111c9}])[[\p{Mn}&&\p{Age=8.0}]\u1734]/
        MARK = /(?!\u{111c9})[[\p{M}&&\p{Age=9.0}]\u1cf2\u1cf3]/
        SPACE = /[[:space:]]/
        # Blocks of CJK ideographs.
        BLOCKS = ["\u4E00-\u9FFF", "\u3400-\u4DBF", "\u{20000}-\u{2A6DF}", "\u{2A700}-\u{2B73F}", "\u{2B740}-\u{2B81F}",
                  "\u{2B920}-\u{2CEAF}", "\uF900-\uFAFF", "\u{2F800}-\u{2FA1F}"].freeze
        IDEOGRAPH = /[#{BLOCKS.join}]/
        # As sentencepiece's rules for machine translation.
        REMOVED = /[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]/
        BLANK = /[\u0009\u000a\u000c\u000d\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/
        # By type, a function from the JSON to a normalizer.
        KINDS = {
          "Sequence" => lambda do |json|
            steps = Array(json["normalizers"]).map { |step| build(step) }
            ->(text) { steps.inject(text) { |all, step| step.call(all) } }
          end,
          "BertNormalizer" => ->(json) { ->(text) { bert(json, text) } },
          "Lowercase" => ->(_) { :downcase.to_proc },
          "StripAccents" => ->(_) { ->(text) { text.gsub(MARK, "") } },
          "Strip" => ->(json) { ->(text) { strip(json, text) } },
          "Prepend" => ->(json) { ->(text) { text.empty? ? text : "#{json['prepend']}#{text}" } },
          "Replace" => lambda do |json|
            pattern = Pattern.of(json["pattern"])
            ->(text) { text.gsub(pattern) { json["content"].to_s } }
          end,
          "Nmt" => ->(_) { ->(text) { text.gsub(REMOVED, "").gsub(BLANK, " ") } },
          "Precompiled" => ->(json) { Precompiled.new(json["precompiled_charsmap"]).method(:call) },
          **%w[NFC NFD NFKC NFKD].to_h do |form|
              [form, lambda { |_|
                       lambda { |text|
                         text.unicode_normalize(form.downcase.to_sym)
                       }
                     }]
            end
        }.freeze
        private_constant :CONTROL, :ACCENT, :MARK, :SPACE, :BLOCKS, :IDEOGRAPH, :REMOVED, :BLANK, :KINDS

        class << self
          # @param json [Hash, nil]
          # @return [#call]
          # @raise [Unsupported]
          def build(json)
            return ->(text) { text } if json.nil?

            kind = KINDS[json["type"]] or raise Unsupported, "its normalizer #{json['type']}"
            instance_exec(json, &kind)
          end

          private

          def bert(json, text)
            text = text.gsub(CONTROL, "").gsub(SPACE, " ") if json["clean_text"]
            text = text.gsub(IDEOGRAPH) { |character| " #{character} " } if json["handle_chinese_chars"]
            strips = json["strip_accents"].nil? ? json["lowercase"] : json["strip_accents"]
            text = text.unicode_normalize(:nfd).gsub(ACCENT, "") if strips
            json["lowercase"] ? text.downcase : text
          end

          def strip(json, text)
            text = text.sub(/\A[[:space:]]+/, "") if json["strip_left"]
            json["strip_right"] ? text.sub(/[[:space:]]+\z/, "") : text
          end
        end
      end
      private_constant :Normalizer
    end
  end
end
