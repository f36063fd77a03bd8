# frozen_string_literal: true

require_relative "../inputs"

module Transfer
  module CLI
    class Root
      desc "predict MODEL INPUT...", "Predict labels or values for images, texts or rows"
      long_desc <<~TEXT
        An input is an image file, a text, or in JSON a pair of texts or a row of a
        table; - reads inputs from standard input, one per line. Prints a line per input
        as it is computed, with tabs: label, score (0 to 1) and input; for multi-label
        models the labels, with | between them; for regression the value; for texts the
        text and its score; for object detection a line per box: label, score, x, y,
        width, height and input. The label or value of an input unlike the training
        examples is in parentheses: "unknown (stop)".

          transfer predict signs.transfer a.jpg b.jpg
          transfer predict signs.transfer --top 3 a.jpg
          transfer predict signs.transfer --level 0.9 a.jpg
          find photos -name '*.jpg' | transfer predict signs.transfer --json -
          transfer predict signs.onnx a.jpg                 # exported: needs no Python
          transfer predict mood.transfer "What a day!"
          transfer predict mood.transfer -- "-5 degrees and rain"
          transfer predict prices.transfer '{"rooms": 3, "city": "Ulm"}'
          transfer predict signs.transfer street.jpg --draw street-found.png

        Words after -- are inputs, even if they begin with -. With --json each line is a
        JSON object. An input that can't be read is a line on standard error, in JSON an
        object with "error"; the exit status is 5, or 3 if no input can be read.
      TEXT
      option :top, type: :numeric, banner: "N", desc: "Print the N most probable labels, a line each"
      option :level, type: :numeric, banner: "SHARE", desc: "Add the prediction set or interval at this coverage"
      option :tile, type: :boolean, desc: "Detect in overlapping parts of large images, too"
      option :min_score, type: :numeric, banner: "SCORE",
                         desc: "All boxes of at least this score (threshold per class)"
      option :augment, banner: "A,B", desc: "Average over views of each image: flip, crop ..."
      option :draw, banner: "FILE", desc: "Draw the boxes on the image, and write it to this file"
      option :on_bad_input, banner: "WORD", enum: %w[mark skip raise], default: "mark",
                            desc: "mark, skip or raise unreadable inputs (mark)"
      shared_options :pictures, :trust, :signed_by
      option :json, type: :boolean, desc: "Print a JSON object per line, errors included"
      def predict(model, *inputs)
        check_top
        check_named(inputs)
        check_drawn(inputs)
        loaded = open_model(model)
        count = Hash.new(0)
        each_result(loaded, inputs) do |input, result|
          count[result.ok?] += 1
          show(input, result) if result.ok? || !skip_bad?
          draw(result) if options[:draw] && result.ok?
        end
        return unless count[false].positive?
        return warn("transfer: warning: skipped #{count[false]} inputs that can't be read") if skip_bad?

        finish(count[true].positive? ? ExitStatus::SOME_FAILED : ExitStatus::DATA)
      end

      private

      def check_top
        top = options[:top]
        return if top.nil? || (top.is_a?(Integer) && top.positive?)

        raise Thor::Error, "--top takes a whole number from 1 on, got #{top}"
      end

      def check_named(inputs)
        raise Thor::Error, "name at least one input, or - to read them from standard input" if inputs.empty?
      end

      def check_drawn(inputs)
        raise Thor::Error, "--draw takes one image" if options[:draw] && (inputs.size > 1 || inputs == ["-"])
      end

      def draw(result)
        raise Thor::Error, "--draw needs a model for object detection" unless result.respond_to?(:draw)

        file = result.draw(options[:draw])
        return if options[:json]

        warn "transfer: wrote #{file}"
        show_picture(file.binread) if pictures
      end

      def skip_bad? = options[:on_bad_input] == "skip"

      # @yieldparam input [String]
      # @yieldparam result [Prediction, BadInput]
      def each_result(model, inputs)
        Inputs.each_group(inputs, model.modality) do |lines|
          readable = lines.reject(&:error).map(&:value)
          predictions = model.predict(readable.lazy, level: options[:level], on_bad_input: :mark, **views)
          lines.each do |line|
            result = line.error ? BadInput.new(line.text, DataError.new(line.error)) : predictions.next
            raise data_error(result) if result.failed? && options[:on_bad_input] == "raise"

            yield line.text, result
            $stdout.flush # buffered unless it is a terminal
          end
        end
      end

      def views
        { tile: options[:tile], augment: options[:augment]&.split(","), min_score: options[:min_score] }
      end

      def show(input, result)
        return puts(JSON.generate({ input:, **json(result) })) if options[:json]
        return warn("transfer: #{message(input, result)}") if result.failed?

        rows(result.to_h).each do |first, *cells|
          first = "unknown (#{first})" if result.unknown?
          puts [first, *cells, input.tr("\t\n", " ")].join("\t")
        end
      end

      def json(result) = result.failed? ? { error: Failure.new(data_error(result)).to_h } : result.to_h

      # An input of the wrong kind, such as a row with a list in a cell, is an ArgumentError in Ruby.
      def data_error(result) = result.error.is_a?(Error) ? result.error : DataError.new(result.message)

      # A message about an input without a name of its own, such as a text, quotes the input.
      def message(input, result)
        place = Input::PLACE.match(result.message)
        place ? "#{Plain.brief(input)}: #{place.post_match}" : result.message
      end

      # @param prediction [Hash{Symbol => Object}]
      # @return [Array<Array>] the cells of each line
      def rows(prediction)
        case prediction
        in { boxes: } then boxes.map { |box| box_cells(box) }
        in { labels: } unless options[:top] then [[labels.join("|")]]
        in { scores: }
          scores.first(options[:top] || 1).map { |label, score| [label, format("%.4f", score), *coverage(prediction)] }
        in { text:, score: } then [[text.tr("\t\n", " "), format("%.4f", score)]]
        in { values: } then [[*values.map { |pair| pair.join("=") }, *coverage(prediction)]]
        in { value: } then [[value, *coverage(prediction)]]
        end
      end

      # With --level also the sides of the outer box.
      def box_cells(box)
        sides = [box, box[:outer]].compact.flat_map { |one| one.values_at(:x, :y, :width, :height) }
        [box[:label], format("%.4f", box[:score]), *sides.map { |side| format("%.1f", side) }]
      end

      # The prediction set or the intervals, with --level.
      def coverage(prediction)
        case prediction
        in { set: } then [set.join("|")]
        in { intervals: } then intervals.values.map { |low, high| "#{low}..#{high}" }
        in { interval: [low, high] } then ["#{low}..#{high}"]
        else []
        end
      end
    end
  end
end
