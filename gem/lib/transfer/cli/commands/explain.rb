# frozen_string_literal: true

require_relative "../inputs"

module Transfer
  module CLI
    class Root
      desc "explain MODEL INPUT", "Explain the prediction for one input"
      long_desc <<~TEXT
        Computes how much the parts of an image, text or row (JSON) contribute to the
        score of the predicted label or value. Prints a line per word or column with
        tabs: contribution and name, the largest first. --output writes the image with
        a heatmap (.png), or all contributions (.json); of an image it is required,
        unless --json is given.

          transfer explain signs.transfer photo.jpg --output why.png
          transfer explain signs.transfer photo.jpg --for stop --against yield --json
          transfer explain mood.transfer "What a day!"
          transfer explain prices.transfer '{"rooms": 3, "city": "Ulm"}'
      TEXT
      option :output, banner: "FILE", desc: "Write this .png or .json file"
      option :for, banner: "LABEL", desc: "Explain this label (the predicted one)"
      option :against, banner: "LABEL", desc: "Explain the difference from this label"
      shared_options :force, :trust, :signed_by, :json
      def explain(model, input)
        file = output_file(:output, "why.png") if options[:output]
        loaded = open_model(model)
        if loaded.modality == :image && !file && !options[:json]
          raise Thor::Error, "name a file with --output (.png, .json), or give --json"
        end

        value = Inputs.enum_for(:each_group, [input], loaded.modality).first.first.value
        explanation = loaded.explain(value, for: options[:for], against: options[:against])
        explanation.save(file) if file
        output(explanation.to_h) { explanation_lines(explanation, file) }
      end

      private

      def explanation_lines(explanation, file)
        return "#{explanation.label} (#{explanation.method}): #{file}" if explanation.heatmap

        explanation.top(100).map { |name, score| "#{format('%.4f', score)}\t#{name.tr("\t\n", ' ')}" }
      end
    end
  end
end
