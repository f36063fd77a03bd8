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
        --influential lists those that influence the prediction most instead, with
        the change of its log probability or value by having them in the training.

          transfer similar signs.transfer photo.jpg
          transfer similar mood.transfer "What a day!" --count 10 --json
          transfer similar signs.transfer photo.jpg --influential
      TEXT
      option :influential, type: :boolean, desc: "List the most influential examples"
      option :count, type: :numeric, default: 5, banner: "NUMBER", desc: "Number of examples (5)"
      shared_options :trust, :signed_by, :json
      def similar(model, input)
        loaded = open_model(model)
        value = Inputs.enum_for(:each_group, [input], loaded.modality).first.first.value
        found = loaded.public_send(options[:influential] ? :influential : :similar, value, options[:count])
        output(found.map(&:to_h)) { found.map { |one| example_line(one) } }
      end

      private

      def example_line(one)
        label = one.label.is_a?(Hash) ? one.label.map { |name, value| "#{name}: #{value}" } : one.label
        cells = [Array(label).join(", "), one.name || one.text].map do |cell|
          cell.to_s.gsub(/[^[:print:]]/) { |character| character.dump[1..-2] }
        end
        [format("%.4g", one.to_h.values.first), *cells].join("\t")
      end
    end
  end
end
