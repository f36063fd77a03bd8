# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "export MODEL FILE", "Export a model to ONNX"
      long_desc <<~TEXT
        Writes one ONNX file that predicts without Python: with Transfer::Onnx in Ruby,
        with ONNX Runtime in other languages, and in browsers. It is compared with the
        model first.

          transfer export signs.transfer signs.onnx
          transfer export signs.transfer a.onnx --precision int8 --calibration photos/
      TEXT
      option :precision, banner: "NAME", default: "float32", enum: %w[float32 float16 int8],
                         desc: "float32, float16 or int8 weights (float32)"
      option :calibration, group: "Data", banner: "DATA", desc: "Labelled data for int8, such as the training data"
      option :evaluation, group: "Data", banner: "DATA", desc: "Labelled data to compare file and model on"
      shared_options :input_column, :target_column
      option :tolerance, banner: "SHARE", type: :numeric, default: 0.01, desc: "Largest loss of accuracy (0.01)"
      option :loader, banner: "NAME", enum: %w[python ruby browser], desc: "Also write a script that predicts"
      shared_options :trust, :signed_by, :json
      def export(model, file)
        loaded = open_model(model)
        columns = RecipeWords.new(options[:calibration] || options[:evaluation], options).columns
        words = options.slice("precision", "calibration", "evaluation", "tolerance", "loader").transform_keys(&:to_sym)
        report = loaded.export(file, columns:, **words)
        output(report.to_h) do
          measured = "#{report.metric} #{report.after.round(3)}, model #{report.before.round(3)}" if report.metric
          ["#{report.path}: #{report.precision}, #{Amounts.size(report.bytes)}", *measured, *report.loader&.to_s]
        end
      end
    end
  end
end
