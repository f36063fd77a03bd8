# frozen_string_literal: true

RSpec.describe "Limits on inputs", :end_to_end do
  before(:context) do
    @photos = photo_folder(File.join(@scratch, "photos"), count: 8)
    @model = Transfer.train(backbone: "sklearn:pixels(size=8)", data: @photos)
  end

  after do
    Transfer.config.max_pixels = nil
    Transfer.config.max_image_bytes = nil
    Transfer.shutdown
  end

  let(:photo) { Dir[File.join(@photos, "**/*.png")].first }

  # A worker gets its settings when it starts.
  def limit(**settings)
    Transfer.shutdown
    settings.each { |name, value| Transfer.config.public_send(:"#{name}=", value) }
  end

  it "apply to paths, bytes and streams, in predict, embed, evaluate and train" do
    limit(max_pixels: 100)
    rows = Dir[File.join(@photos, "**/*.png")].map { |path| { input: File.binread(path), label: path.split("/")[-2] } }
    [-> { @model.predict(photo) }, -> { @model.predict(File.binread(photo)) },
     -> { File.open(photo) { |file| @model.predict(file) } }, -> { @model.embed([photo]) },
     -> { @model.evaluate(@photos) },
     -> { Transfer.train(backbone: "sklearn:pixels(size=8)", data: @photos) },
     -> { Transfer.train(backbone: "sklearn:pixels(size=8)", data: rows) }].each do |ask|
      expect(&ask).to raise_error(Transfer::DataError, /pixels are more than max_pixels = 100\. Fix: raise Transfer/)
    end
  end

  it "include bytes, and can be raised and lowered" do
    limit(max_image_bytes: "10B")
    expect { @model.predict(photo) }.to raise_error(Transfer::DataError, /bytes are more than max_image_bytes = 10\. /)
    limit(max_image_bytes: "1MB")
    expect(@model.predict(photo).label).to be_a(String)
  end
end
