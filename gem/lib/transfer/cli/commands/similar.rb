# frozen_string_literal: true

require_relative "../inputs"

module Transfer
  module CLI
    class Root
      desc "similar MODEL INPUT", "List the training examples nearest to one input"
      long_desc <<~TEXT
        Compares the embedding of an image, text or row (JSON) with those of the
        training examples that the model stores, 1,000 at most. Prints a line per
        example with tabs, the nearest first: distance, label, and name or text.

          transfer similar signs.transfer photo.jpg
          transfer similar mood.transfer "What a day!" --count 10 --json
      TEXT
      option :count, type: :numeric, default: 5, banner: "NUMBER", desc: "Number of examples (5)"
      shared_options :trust, :signed_by, :json
      def similar(model, input)
        loaded = open_model(model)
        value = Inputs.enum_for(:each_group, [input], loaded.modality).first.first.value
        found = loaded.similar(value, options[:count])
        output(found.map(&:to_h)) { found.map { |one| example_line(one) } }
      end

      private

      def example_line(one)
        label = one.label.is_a?(Hash) ? one.label.map { |name, value| "#{name}: #{value}" } : one.label
        cells = [Array(label).join(", "), one.name || one.text].map do |cell|
          cell.to_s.gsub(/[^[:print:]]/) { |character| character.dump[1..-2] }
        end
        [format("%.4f", one.distance), *cells].join("\t")
      end
    end
  end
end
