# frozen_string_literal: true

module Transfer
  module Bridge
    # The {Schema} of the result of the method `audit`.
    module AuditSchema
      text_or_number = ->(value) { value.is_a?(Integer) || (value.is_a?(String) && value.encoding == Encoding::UTF_8) }
      NAME_OR_NUMBER = { where: [:plain, "a name or a number", text_or_number] }.freeze
      FINDING = { "kind" => :text, "detail" => :text, "input" => { maybe: NAME_OR_NUMBER },
                  "label" => { maybe: :text }, "suggested" => { maybe: :text }, "score" => { maybe: :finite },
                  "keep" => :flag, "other" => { maybe: NAME_OR_NUMBER } }.freeze
      REPORT = { "modality" => :modality, "task" => :task, "examples" => :count, "labels" => { each: :count },
                 "findings" => [FINDING] }.freeze
    end
    private_constant :AuditSchema
  end
end
