# frozen_string_literal: true

require_relative "../inputs"

module Transfer
  module CLI
    class Root
      desc "explain MODEL INPUT", "Explain the prediction for one input"
      long_desc <<~TEXT
        Computes how much the parts of an image, text or row (JSON) contribute to the
        score of the predicted label or value. Prints a line per word or column with
        tabs: contribution and name, the largest first; of a translation a line per
        token and the source token that it attends to most. --output writes the image
        with a heatmap (.png), a page (.html) or all contributions (.json); of an image
        it is required, unless --json is given or the terminal shows pictures.

          transfer explain signs.transfer photo.jpg --output why.png
          transfer explain signs.transfer photo.jpg --for stop --against yield --json
          transfer explain signs.transfer photo.jpg --method rise --output why.png
          transfer explain mood.transfer "What a day!"
          transfer explain prices.transfer '{"rooms": 3, "city": "Ulm"}'
      TEXT
      option :output, banner: "FILE", desc: "Write this .png, .html or .json file"
      option :for, banner: "LABEL", desc: "Explain this label (the predicted one)"
      option :against, banner: "LABEL", desc: "Explain the difference from this label"
      option :method, banner: "NAME", desc: "Method, such as occlusion (the first that applies)"
      shared_options :pictures, :force, :trust, :signed_by, :json
      def explain(model, input)
        file = output_file(:output, "why.png") if options[:output]
        loaded = open_model(model)
        check_picture_wanted(loaded, file)
        words = %i[for against method].to_h { |word| [word, options[word]] }
        explanation = loaded.explain(one_value(loaded, input), **words)
        explanation.save(file) if file
        output(explanation.to_h) { explanation_lines(explanation, file) }
        show_picture(explanation.overlay)
      end

      private

      # @return the input as the model takes it
      def one_value(model, input) = Inputs.enum_for(:each_group, [input], model.modality).first.first.value

      def check_picture_wanted(model, file)
        return if model.modality != :image || file || options[:json] || pictures

        raise Thor::Error, "name a file with --output (.png, .html, .json), or give --json"
      end

      def explanation_lines(explanation, file)
        return ["#{explanation.label} (#{explanation.method})", file].compact.join(": ") if explanation.heatmap
        return box_lines(explanation, file) if explanation.boxes
        return aligned_lines(explanation.alignment) if explanation.alignment

        explanation.top(100).map { |name, score| "#{format('%.4f', score)}\t#{name.tr("\t\n", ' ')}" }
      end

      def box_lines(explanation, file)
        lines = explanation.boxes.map do |one|
          sides = one.box.values.map { |side| format("%.1f", side) }
          [format("%.4f", one.score), one.label.tr("\t\n", " "), *sides].join("\t")
        end
        [*lines, ["#{lines.size} boxes (#{explanation.method})", file].compact.join(": ")]
      end

      def aligned_lines(alignment)
        alignment.target.zip(alignment.weights.to_a).map do |piece, weights|
          weight, place = weights.each_with_index.max
          source = place && alignment.source[place]
          [piece, source, format("%.2f", weight || 0)].map { |cell| cell.to_s.strip.tr("\t\n", " ") }.join("\t")
        end
      end
    end
  end
end
